// Command customers is the steady load on the entry in front of several clusters, and what came of it.
//
//	customers buy     -url URL [-rate 20] [-timeout 2s] [-keep 15m] [-listen 127.0.0.1:8081]
//	customers results [-within 10s]
//	customers follow
//	customers ask     URL
//
// buy starts -rate requests a second, each on a connection of its own, whatever became of those before: a customer
// who waits does not keep others from coming. It remembers those that ended within -keep.
// results prints what ended within the last so many seconds, as one JSON array, the oldest first.
// follow prints a JSON line a second: what ended in it.
// ask prints what a URL answers: Envoy's admin interface is asked so, in the entry's container.
//
// served_by is the response's header x-served-by: the cluster that the entry chose.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	address     = "127.0.0.1:8081"
	servedBy    = "X-Served-By"
	answerLimit = 64 << 10
)

type result struct {
	Time     string  `json:"time"`
	AgoS     float64 `json:"ago_s"`
	TookS    float64 `json:"took_s"`
	Status   int     `json:"status"`
	ServedBy string  `json:"served_by,omitempty"`
	Error    string  `json:"error,omitempty"`
	ended    time.Time
}

// UpS is when the second ended, since this process began: who reads it knows when that was, however late it comes.
type second struct {
	UpS      float64        `json:"up_s"`
	OK       int            `json:"ok"`
	Failed   int            `json:"failed"`
	ServedBy map[string]int `json:"served_by"`
	SlowestS float64        `json:"slowest_s"`
	Error    string         `json:"error,omitempty"`
}

// memory holds results in the order in which they ended; forgotten counts those that are too old to be kept.
type memory struct {
	sync.Mutex
	results   []result
	forgotten int
	keep      time.Duration
}

var began = time.Now()

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: customers buy|results|follow|ask [flags]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	switch os.Args[1] {
	case "buy":
		err = buy(ctx, os.Args[2:])
	case "results":
		flags := flag.NewFlagSet("results", flag.ExitOnError)
		within := flags.Duration("within", 10*time.Second, "how long ago a request may have ended")
		_ = flags.Parse(os.Args[2:])
		err = show(ctx, "http://"+address+"/results?within="+url.QueryEscape(within.String()))
	case "follow":
		err = show(ctx, "http://"+address+"/follow")
	case "ask":
		err = show(ctx, os.Args[len(os.Args)-1])
	default:
		err = fmt.Errorf("unknown command %q: buy, results, follow or ask", os.Args[1])
	}
	if err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func buy(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("buy", flag.ExitOnError)
	target := flags.String("url", "", "what to request")
	rate := flags.Float64("rate", 20, "requests a second")
	timeout := flags.Duration("timeout", 2*time.Second, "when a customer gives up")
	keep := flags.Duration("keep", 15*time.Minute, "how long results are remembered")
	listen := flags.String("listen", address, "where results are told")
	_ = flags.Parse(args)
	if *target == "" || *rate <= 0 {
		return errors.New("-url and a -rate above 0 are needed")
	}
	past := &memory{keep: *keep}
	go press(ctx, past, *target, *rate, *timeout)
	server := &http.Server{Addr: *listen, Handler: past.routes(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// press starts requests at their times until ctx ends.
func press(ctx context.Context, past *memory, target string, rate float64, timeout time.Duration) {
	browser := &http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			go func() { past.add(attempt(ctx, browser, target)) }()
		}
	}
}

func attempt(ctx context.Context, browser *http.Client, target string) result {
	started := time.Now()
	done := result{Time: started.UTC().Format(time.RFC3339Nano)}
	asked, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err == nil {
		var got *http.Response
		if got, err = browser.Do(asked); err == nil {
			defer got.Body.Close()
			done.Status, done.ServedBy = got.StatusCode, got.Header.Get(servedBy)
			_, err = io.Copy(io.Discard, io.LimitReader(got.Body, answerLimit))
		}
	}
	if err != nil {
		done.Status, done.Error = 0, err.Error()
	}
	done.ended = time.Now()
	done.TookS = done.ended.Sub(started).Seconds()
	return done
}

func (past *memory) add(done result) {
	past.Lock()
	defer past.Unlock()
	past.results = append(past.results, done)
	old := 0
	for old < len(past.results) && time.Since(past.results[old].ended) > past.keep {
		old++
	}
	past.results, past.forgotten = past.results[old:], past.forgotten+old
}

// since returns the results from number `first` on, counted from the start, and the number of the next one.
func (past *memory) since(first int) ([]result, int) {
	past.Lock()
	defer past.Unlock()
	next := past.forgotten + len(past.results)
	from := min(max(first-past.forgotten, 0), len(past.results))
	return append([]result(nil), past.results[from:]...), next
}

func (past *memory) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/results", past.tellResults)
	mux.HandleFunc("/follow", past.tellSeconds)
	return mux
}

func (past *memory) tellResults(w http.ResponseWriter, r *http.Request) {
	within, err := time.ParseDuration(r.URL.Query().Get("within"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	all, _ := past.since(0)
	found := []result{}
	for _, each := range all {
		if ago := time.Since(each.ended); ago <= within {
			each.AgoS = ago.Seconds()
			found = append(found, each)
		}
	}
	_ = json.NewEncoder(w).Encode(found)
}

func (past *memory) tellSeconds(w http.ResponseWriter, r *http.Request) {
	_, next := past.since(1 << 62)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
			var ended []result
			ended, next = past.since(next)
			if json.NewEncoder(w).Encode(summed(ended)) != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}
}

func summed(ended []result) second {
	sum := second{UpS: time.Since(began).Seconds(), ServedBy: map[string]int{}}
	for _, each := range ended {
		sum.SlowestS = max(sum.SlowestS, each.TookS)
		if each.ServedBy != "" {
			sum.ServedBy[each.ServedBy]++
		}
		if each.Status == http.StatusOK {
			sum.OK++
			continue
		}
		sum.Failed++
		if sum.Error == "" {
			sum.Error = each.Error
			if each.Error == "" {
				sum.Error = fmt.Sprintf("status %d", each.Status)
			}
		}
	}
	return sum
}

// show copies what a URL answers to stdout.
func show(ctx context.Context, target string) error {
	asked, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	got, err := http.DefaultClient.Do(asked)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		said := new(bytes.Buffer)
		_, _ = io.Copy(said, io.LimitReader(got.Body, answerLimit))
		return fmt.Errorf("%s: %s", got.Status, bytes.TrimSpace(said.Bytes()))
	}
	_, err = io.Copy(os.Stdout, got.Body)
	return err
}
