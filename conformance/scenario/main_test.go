package scenario

import (
	"os"
	"testing"

	"github.com/lictor-go/consul/internal/agent"
)

func TestMain(m *testing.M) { os.Exit(agent.Main(m)) }
