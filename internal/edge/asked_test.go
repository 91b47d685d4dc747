package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"cordee/internal/bitcoind"
	"cordee/pool"
	"cordee/stratum"
)

// No message of a client reaches the node but a block: whatever rigs of each
// class say, and however often, it is asked only whether a coinbase of each
// class is valid, and, every few minutes, what one share of it would be.
func TestClientsAskTheNodeNothing(t *testing.T) {
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var rows []stratum.FirmwareRow
	for _, c := range pool.Classes {
		rows = append(rows, stratum.FirmwareRow{Text: c.Name + "/", Class: c})
	}
	k := newKit(t, t.TempDir(), func(c *Config) {
		c.Listeners, c.Quiet = []Listener{{Listener: ln}}, time.Nanosecond
		c.Stratum.Firmware = stratum.NewFirmware(rows)
		c.Stratum.StartDifficulty, c.Stratum.MinDifficulty = 1, 1 // every hash is a share
	})
	k.edge.jobs.out = k.edge.server
	k.run()
	defer k.end()
	k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8), Tip: 1}

	talk := func(class string, client int) (credited int) {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		say := func(format string, args ...any) {
			if _, err := fmt.Fprintf(conn, format+"\n", args...); err != nil {
				t.Fatal(err)
			}
		}
		say(`{"id":1,"method":"mining.subscribe","params":["%s/1"]}`, class)
		say(`{"id":2,"method":"mining.authorize","params":["alice.barn.r%d","x"]}`, client)
		in := bufio.NewReader(conn)
		var job, ntime string
		for job == "" {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(line, "mining.notify") {
				_, rest, _ := strings.Cut(line, `"params":["`)
				job, _, _ = strings.Cut(rest, `"`)
				end := strings.LastIndex(line, `",`)
				ntime = line[end-8 : end]
			}
		}
		for n := range 20 {
			say(`{"id":4,"method":"mining.submit","params":["alice.barn.r%d","%s","%016x","%s","%08x"]}`, client, job, n, ntime, n)
			say(`{"id":5,"method":"mining.submit","params":["alice.barn.r%d","%s","%016x","%s","%08x"]}`, client, job, n, ntime, n)
			say(`{"id":5,"method":"mining.submit","params":["bob","ffff","00","00","00"]}`)
			say(`{"id":6,"method":"mining.suggest_difficulty","params":[%s]}`, pool.Difficulty(1).Text(pool.RegtestScale))
			say(`{"id":7,"method":"mining.configure","params":[["version-rolling","minimum-difficulty"],{"minimum-difficulty.value":%s}]}`, pool.Difficulty(1).Text(pool.RegtestScale))
			for _, m := range []string{"get_transactions", "multi_version", "capabilities", "extranonce.subscribe", "ping", "suggest_target", "authorize", "subscribe", "nothing"} {
				say(`{"id":8,"method":"mining.%s","params":["x%d"]}`, m, n)
			}
		}
		say(`{"id":"last","method":"mining.ping"}`)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v", class, err)
			}
			if strings.HasPrefix(line, `{"id":4,"result":true`) {
				credited++
			}
			if strings.HasPrefix(line, `{"id":"last"`) {
				return credited
			}
		}
	}
	shares, clients := 0, 0
	for range 5 {
		for _, c := range pool.Classes {
			clients++
			shares += talk(c.Name, clients)
		}
	}
	for range 200 { // and who only comes and goes
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, `{"id":1,"method":"mining.subscribe","params":["huge/1"]}`+"\n")
		_ = conn.Close()
	}
	if shares < clients*15 {
		t.Errorf("%d shares of %d clients were accepted: they reached the pool hardly", shares, clients)
	}
	if n := len(k.node.submitted()); n != 0 {
		t.Errorf("%d blocks were submitted, and none was found", n)
	}
	if n := len(k.node.proposed()); n > 2*len(pool.Classes) {
		t.Errorf("the node was asked %d times for %d classes", n, len(pool.Classes))
	}
}
