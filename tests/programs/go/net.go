// Go's netpoller: a TCP server and clients on the loopback, deadlines, UDP, HTTP.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	var wg sync.WaitGroup
	var mu sync.Mutex
	good := 0
	for i := 0; i < 100; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				fmt.Println(err)
				return
			}
			data := bytes.Repeat([]byte{byte(i), 1, 2, 3}, 5000)
			go func() {
				c.Write(data)
				c.(*net.TCPConn).CloseWrite()
			}()
			back, _ := io.ReadAll(c)
			mu.Lock()
			if bytes.Equal(back, data) {
				good++
			}
			mu.Unlock()
			c.Close()
		}(i)
	}
	wg.Wait()
	fmt.Println(good)
	c, _ := net.Dial("tcp", l.Addr().String())
	c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	if e, ok := err.(net.Error); ok {
		fmt.Println("timeout", e.Timeout())
	}
	l.Close()
	u, _ := net.ListenPacket("udp", "127.0.0.1:0")
	v, _ := net.Dial("udp", u.LocalAddr().String())
	v.Write([]byte("datagram"))
	b := make([]byte, 100)
	n, from, _ := u.ReadFrom(b)
	fmt.Println(string(b[:n]), from.String() == v.LocalAddr().String())
	h, _ := net.Listen("tcp", "127.0.0.1:0")
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "you asked for %s", r.URL.Path) })
	go http.Serve(h, nil)
	for i := 0; i < 3; i++ {
		r, err := http.Get("http://" + h.Addr().String() + "/page")
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Println(r.StatusCode, string(body))
	}
}
