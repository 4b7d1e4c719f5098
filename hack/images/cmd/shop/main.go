// Command shop is the testbed's sample application: two services that call each other, and a client.
//
//	shop serve  [-listen :8080] [-name NAME] [-call URL]
//	shop client [-url URL] [-every 1s] [-timeout 2s]
//
// serve answers
//
//	/healthz  200: the process lives (liveness)
//	/readyz   200: it may get requests (readiness; does not depend on the other service)
//	/         200: who answers, as JSON
//	/call     the answer of -call's URL inside ours; 502 with the reason when it can't be had
//
// client requests -url again and again and writes one JSON line per request.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const answerLimit = 64 << 10

type answer struct {
	Service string          `json:"service"`
	Host    string          `json:"host"`
	Called  json.RawMessage `json:"called,omitempty"`
	Error   string          `json:"error,omitempty"`
}

type request struct {
	Time   string  `json:"time"`
	URL    string  `json:"url"`
	Status int     `json:"status"`
	Took   float64 `json:"took_s"`
	Error  string  `json:"error,omitempty"`
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: shop serve|client [flags]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(ctx, os.Args[2:])
	case "client":
		err = client(ctx, os.Args[2:])
	default:
		err = fmt.Errorf("unknown command %q: serve or client", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", ":8080", "address to listen on")
	name := flags.String("name", "shop", "the service's name")
	call := flags.String("call", "", "URL of the service that /call asks")
	_ = flags.Parse(args)

	server := &http.Server{Addr: *listen, Handler: routes(*name, *call), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		deadline, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(deadline)
	}()
	log.Printf("%s listens on %s", *name, *listen)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func routes(name, call string) http.Handler {
	host, _ := os.Hostname()
	browser := &http.Client{Timeout: 3 * time.Second}
	mux := http.NewServeMux()
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") }
	mux.HandleFunc("/healthz", ok)
	mux.HandleFunc("/readyz", ok)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, answer{Service: name, Host: host})
	})
	mux.HandleFunc("/call", func(w http.ResponseWriter, r *http.Request) {
		called, err := get(r.Context(), browser, call)
		if err != nil {
			reply(w, http.StatusBadGateway, answer{Service: name, Host: host, Error: err.Error()})
			return
		}
		reply(w, http.StatusOK, answer{Service: name, Host: host, Called: called})
	})
	return mux
}

func get(ctx context.Context, browser *http.Client, url string) (json.RawMessage, error) {
	asked, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	got, err := browser.Do(asked)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(io.LimitReader(got.Body, answerLimit))
	if err != nil {
		return nil, err
	}
	if got.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, got.Status)
	}
	if !json.Valid(body) {
		return nil, fmt.Errorf("%s did not answer in JSON", url)
	}
	return body, nil
}

func reply(w http.ResponseWriter, status int, body answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func client(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	url := flags.String("url", "http://storefront.shop/call", "what to request")
	every := flags.Duration("every", time.Second, "pause between the starts of two requests")
	timeout := flags.Duration("timeout", 2*time.Second, "when to give a request up")
	_ = flags.Parse(args)

	// A connection per request: each one asks DNS again, as a new customer would.
	browser := &http.Client{Timeout: *timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	ticker := time.NewTicker(*every)
	defer ticker.Stop()
	lines := json.NewEncoder(os.Stdout)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := lines.Encode(attempt(ctx, browser, *url)); err != nil {
				return err
			}
		}
	}
}

func attempt(ctx context.Context, browser *http.Client, url string) request {
	started := time.Now()
	done := request{Time: started.UTC().Format(time.RFC3339Nano), URL: url}
	asked, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		done.Error = err.Error()
		return done
	}
	got, err := browser.Do(asked)
	done.Took = time.Since(started).Seconds()
	if err != nil {
		done.Error = err.Error()
		return done
	}
	defer got.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(got.Body, answerLimit))
	done.Status = got.StatusCode
	return done
}
