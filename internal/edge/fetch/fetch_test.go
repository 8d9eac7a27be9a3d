package fetch

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/core/door"
)

// ask waits for one answer.
func ask(t *testing.T, f *Fetcher, ctx context.Context, o door.Fetch) door.Fetched {
	t.Helper()
	o.ID = 7
	got := make(chan door.Fetched, 2)
	f.Start(ctx, o, func(a door.Fetched) { got <- a })
	select {
	case a := <-got:
		if a.ID != 7 || (a.Err == "") == (a.Body == nil) {
			t.Errorf("%+v", a)
		}
		return a
	case <-time.After(limit + 5*time.Second):
		t.Fatal("no answer")
		return door.Fetched{}
	}
}

func site(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/list", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "0123456789") })
	mux.HandleFunc("/ocsp", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.Method+" "+r.Header.Get("Content-Type")+" "+string(body))
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/list", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/tls", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+r.Host+"/list", http.StatusFound)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestFetch(t *testing.T) {
	s := site(t)
	f := New()
	for _, v := range []struct {
		story string
		ask   door.Fetch
		body  string
		err   string
	}{
		{"a list", door.Fetch{URL: "/list", Most: 10}, "0123456789", ""},
		{"one octet too long", door.Fetch{URL: "/list", Most: 9}, "", "more than 9 octets"},
		{"a question", door.Fetch{URL: "/ocsp", Body: []byte("who"), Type: "application/ocsp-request", Most: 100}, "POST application/ocsp-request who", ""},
		{"elsewhere", door.Fetch{URL: "/away", Most: 10}, "0123456789", ""},
		{"in circles", door.Fetch{URL: "/loop", Most: 10}, "", "redirections"},
		{"to a file", door.Fetch{URL: "/file", Most: 10000}, "", "no http URL"},
		{"to https", door.Fetch{URL: "/tls", Most: 10000}, "", "no http URL"},
		{"nothing there", door.Fetch{URL: "/404", Most: 10}, "", "404"},
		{"without end", door.Fetch{URL: "/endless", Most: 1 << 16}, "", "more than 65536 octets"},
	} {
		v.ask.URL = s.URL + v.ask.URL
		a := ask(t, f, t.Context(), v.ask)
		if string(a.Body) != v.body || !strings.Contains(a.Err, v.err) || (a.Err == "") != (v.err == "") {
			t.Errorf("%s: %q, %q", v.story, a.Body, a.Err)
		}
	}
	for _, u := range []string{"file:///etc/passwd", "https://ca.lab/", "ftp://ca.lab/", "http://", "::", "http://user:secret@127.0.0.1/"} {
		if a := ask(t, f, t.Context(), door.Fetch{URL: u, Most: 10000}); a.Err == "" || strings.Contains(a.Err, "secret") {
			t.Errorf("%s: %+v", u, a)
		}
	}
}

// CVE-2022-40617: a port that nobody listens at, and a server that says nothing: an answer comes
// all the same, and when the gateway stops it comes at once.
func TestSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()
	f := New()
	if a := ask(t, f, t.Context(), door.Fetch{URL: closed, Most: 10}); !strings.Contains(a.Err, "did not answer") {
		t.Errorf("nobody there: %q", a.Err)
	}
	s := site(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if a := ask(t, f, ctx, door.Fetch{URL: s.URL + "/hang", Most: 10}); !strings.Contains(a.Err, "did not answer within") {
		t.Errorf("says nothing: %q", a.Err)
	}
}

// Few are under way at once, and what does not fit is refused at once: a
// stranger's certificates cannot pile up requests.
func TestFewAtOnce(t *testing.T) {
	var now, most atomic.Int32
	gate := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-gate
		now.Add(-1)
		io.WriteString(w, "x")
	}))
	defer s.Close()
	f := New()
	const asked = atOnce + waiting + 10
	got := make(chan door.Fetched, asked)
	for range asked {
		f.Start(t.Context(), door.Fetch{URL: s.URL, Most: 1}, func(a door.Fetched) { got <- a })
	}
	for range 10 {
		if a := <-got; !strings.Contains(a.Err, "too many") {
			t.Errorf("%+v", a)
		}
	}
	close(gate)
	for range atOnce + waiting {
		if a := <-got; string(a.Body) != "x" {
			t.Errorf("%+v", a)
		}
	}
	if m := most.Load(); m > atOnce || m == 0 {
		t.Errorf("%d at once", m)
	}
}
