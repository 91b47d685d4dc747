package web_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cordee/internal/web"
)

func (s *source) Halts() web.Halts {
	return web.Halts{Running: true, Halts: []web.HaltLine{}, Log: []web.HaltLine{}}
}

func (s *source) Lift(name, reason string) error {
	s.asked = append(s.asked, name+": "+reason)
	switch name {
	case "block.mismatch":
		return nil
	case "disk":
		return errors.New("no room")
	}
	return web.NotFound{Err: fmt.Errorf("%q is not in force; there is block.mismatch", name)}
}

// TestLift: the one thing that the socket may be told is told in one way only,
// and nothing else reaches the pool.
func TestLift(t *testing.T) {
	s := &source{}
	h := web.Control(s)
	post := func(kind, body string) (int, string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/halts/lift", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		h.ServeHTTP(w, r)
		b, err := io.ReadAll(w.Result().Body)
		if err != nil {
			t.Fatal(err)
		}
		return w.Code, string(b)
	}
	const good = `{"name":"block.mismatch","reason":"reçu restauré, vu à deux"}`
	for _, c := range []struct {
		kind, body string
		code       int
		words      string
	}{
		{"text/plain", good, 415, "application/json"},
		{"", good, 415, "application/json"},
		{"application/json", ``, 400, "EOF"},
		{"application/json", `{"name":"block.mismatch"}`, 400, "a reason is needed"},
		{"application/json", `{"name":"block.mismatch","reason":" \t"}`, 400, "a reason is needed"},
		{"application/json", `{"name":"block.mismatch","reason":"a\nb"}`, 400, "one line"},
		{"application/json", `{"name":"block.mismatch","reason":"\u001b[2J"}`, 400, "printable"},
		{"application/json", `{"name":"block.mismatch","reason":"` + strings.Repeat("a", 501) + `"}`, 400, "at most 500"},
		{"application/json", `{"name":"block.mismatch","reason":"` + strings.Repeat("a", 5000) + `"}`, 413, "at most 4096"},
		{"application/json", `{"name":"Block","reason":"a"}`, 400, "name of a halt"},
		{"application/json", `{"reason":"a"}`, 400, "name of a halt"},
		{"application/json", `{"name":"block.mismatch","reason":"a","force":true}`, 400, "force"},
		{"application/json", good + good, 400, "more than one"},
		{"application/json", `[]`, 400, "array"},
	} {
		if code, body := post(c.kind, c.body); code != c.code || !strings.Contains(body, c.words) {
			t.Errorf("%s %.60s: %d %s", c.kind, c.body, code, body)
		}
	}
	if len(s.asked) != 0 {
		t.Fatalf("reached the pool: %q", s.asked)
	}
	if code, body := post("application/json; charset=utf-8", good); code != 200 || !strings.Contains(body, `"running":true`) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := post("application/json", `{"name":"store.foreign","reason":"a"}`); code != 404 || !strings.Contains(body, "there is block.mismatch") {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := post("application/json", `{"name":"disk","reason":"a"}`); code != 500 {
		t.Errorf("%d", code)
	}
	if want := "block.mismatch: reçu restauré, vu à deux"; len(s.asked) != 3 || s.asked[0] != want {
		t.Errorf("%q", s.asked)
	}
	if r := get(t, h, http.MethodGet, "/halts"); r.StatusCode != 200 {
		t.Errorf("GET /halts: %s", r.Status)
	}
	for _, m := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		if r := get(t, h, m, "/halts/lift"); r.StatusCode != http.StatusMethodNotAllowed && r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", m, r.Status)
		}
	}
	if r := get(t, web.Public(web.Registry(func() web.Figures { return figures(1) }), s), http.MethodPost, "/halts/lift"); r.StatusCode == 200 {
		t.Error("strangers may lift")
	}
}
