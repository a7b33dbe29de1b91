package client_test

import (
	"context"
	"fmt"

	"github.com/weirstream/weir/client"
)

// The jobs of a cluster and the newest checkpoint of each.
func Example() {
	c, err := client.New(client.Options{Address: "127.0.0.1:8081"})
	if err != nil {
		fmt.Println(err)
		return
	}
	jobs, err := c.Jobs(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, j := range jobs {
		fmt.Println(j.Name, j.State)
		if j.LastCheckpoint != nil {
			fmt.Println("  ", j.LastCheckpoint.Path)
		}
	}
}
