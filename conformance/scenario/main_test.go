package scenario

import (
	"os"
	"testing"

	"github.com/lictor-go/consul/internal/agenttest"
)

func TestMain(m *testing.M) { os.Exit(agenttest.Main(m)) }
