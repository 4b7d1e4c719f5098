(() => {
  "use strict";
  const readout = document.querySelector(".readout");
  if (readout) {
    readout.hidden = false;
    const read = (event) => {
      const mark = event.target.closest && event.target.closest("g, svg");
      const title = mark && mark.querySelector(":scope > title");
      const text = title ? title.textContent : event.type === "focusin" && mark && mark.getAttribute("aria-label");
      if (text) readout.textContent = text;
    };
    for (const plot of document.querySelectorAll(".plot"))
      for (const kind of ["pointerover", "focusin"]) plot.addEventListener(kind, read);
  }
  for (const text of document.querySelectorAll("pre[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    const copied = () => {
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    };
    const select = () => {
      getSelection().selectAllChildren(text);
      if (document.execCommand("copy")) copied();
    };
    button.addEventListener("click", () => {
      if (navigator.clipboard) navigator.clipboard.writeText(text.textContent).then(copied, select);
      else select();
    });
    text.before(button);
  }
  const field = document.getElementById("filter");
  if (field) {
    const whole = field.closest("details"), lines = [...whole.querySelectorAll(".events li")];
    const matches = whole.querySelector(".matches");
    field.parentElement.hidden = false;
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const line of lines) {
        const text = line.textContent.toLowerCase();
        line.hidden = !words.every((word) => text.includes(word));
        shown += !line.hidden;
      }
      for (const chapter of whole.querySelectorAll(".chapter")) chapter.open = words.length > 0;
      matches.textContent = words.length ? `${shown} of ${lines.length}` : "";
    });
  }
})();
