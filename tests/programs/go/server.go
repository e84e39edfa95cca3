// An HTTP server on the port given, for the application tests.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello from go: %s\n", r.URL.Path) })
	fmt.Println("listening on " + os.Args[1])
	fmt.Println(http.ListenAndServe(":"+os.Args[1], nil))
}
