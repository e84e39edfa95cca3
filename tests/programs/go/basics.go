// Go: goroutines, channels, maps, garbage collection, timers, defer and recover, exit status.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync"
	"time"
)

func fails() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("recovered: %v", r)
		}
	}()
	var p *int
	*p = 1
	return nil
}

func main() {
	var wg sync.WaitGroup
	var mu sync.Mutex
	results := map[int]int{}
	for i := 0; i < 50; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			sum := 0
			for k := 0; k < 10000; k++ {
				sum += k * i
			}
			mu.Lock()
			results[i] = sum
			mu.Unlock()
		}(i)
	}
	wg.Wait()
	keys := make([]int, 0)
	for k := range results {
		keys = append(keys, k)
	}
	sort.Ints(keys)
	fmt.Println(len(keys), keys[0], keys[49], results[49])
	fmt.Println(fails())

	c, done := make(chan int), make(chan int)
	go func() {
		total := 0
		for v := range c {
			total += v
		}
		done <- total
	}()
	for i := 0; i < 10000; i++ {
		c <- i
	}
	close(c)
	fmt.Println(<-done)

	// Garbage: far more than is alive.
	var keep [][]byte
	for i := 0; i < 2000; i++ {
		b := make([]byte, 50000)
		b[i] = byte(i)
		if i%100 == 0 {
			keep = append(keep, b)
		}
	}
	runtime.GC()
	fmt.Println(len(keep), keep[19][1900])

	start := time.Now()
	select {
	case <-time.After(30 * time.Millisecond):
		fmt.Println("timer", time.Since(start) >= 30*time.Millisecond)
	case <-done:
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	for i := 0; i < 5; i++ {
		<-ticker.C
	}
	ticker.Stop()

	// A busy goroutine is preempted by a signal.
	stop := make(chan bool)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	time.Sleep(10 * time.Millisecond)
	close(stop)

	if err := os.WriteFile("/tmp/coracle-go", []byte("go file"), 0600); err != nil {
		fmt.Println(err)
	}
	b, _ := os.ReadFile("/tmp/coracle-go")
	fmt.Println(string(b))
	os.Remove("/tmp/coracle-go")
	_, err := os.Open("/nowhere")
	fmt.Println(errors.Is(err, os.ErrNotExist))
	os.Exit(11)
}
