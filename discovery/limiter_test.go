package discovery

import (
	"context"
	"fmt"
	"math"
	"testing"
)

// TestQueryLimiter counts the places for queries and for datacenters.
func TestQueryLimiter(t *testing.T) {
	for _, test := range []struct {
		queries, datacenters int
		waiting              int
		polling              string // of each datacenter
	}{
		{128, 1, 112, "16"},
		{128, 2, 112, "8 8"},
		{128, 3, 113, "5 5 5"},
		{1000, 1, 984, "16"},
		{math.MaxInt, 1, math.MaxInt - 16, "16"},
		{15, 1, 14, "1"},
		{16, 2, 14, "1 1"},
		{8, 3, 5, "1 1 1"},
		{3, 2, 1, "1 1"},
		{2, 1, 1, "1"},
		{2, 2, 0, "1 1"},
		{2, 3, 0, "1 1"}, // the third shares with the first
		{1, 1, 0, "1"},
	} {
		l := newQueryLimiter(test.queries, test.datacenters)
		polling := ""
		for _, c := range l.polling {
			polling += fmt.Sprint(" ", cap(c))
		}
		if cap(l.waiting) != test.waiting || polling != " "+test.polling {
			t.Errorf("%d queries, %d datacenters: %d wait,%s poll; want %d and %s",
				test.queries, test.datacenters, cap(l.waiting), polling, test.waiting, test.polling)
		}
		for n := range test.datacenters {
			if release, _ := l.acquire(context.Background(), n, false); release == nil {
				t.Errorf("datacenter %d has no place", n)
			} else {
				release()
			}
		}
	}
}
