package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// imports compares what it costs a program to import a client.
func imports() error {
	fmt.Println("| program that registers and looks up, with | ours | consul/api | net/http and encoding/json alone |\n|---|---|---|---|")
	dir, err := os.MkdirTemp("", "imports")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	lines := []string{"modules linked in", "packages beyond the standard library's", "binary, stripped", "CPU time of a build with an empty cache"}
	for _, name := range []string{"ours", "api", "none"} {
		pkg := "github.com/lictor-go/consul/benchmarks/imports/" + name
		deps, _, err := goTool(dir, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}} {{.Module.Path}}{{end}}", pkg)
		if err != nil {
			return err
		}
		modules := map[string]bool{}
		packages := 0
		for _, line := range strings.Split(strings.TrimSpace(deps), "\n") {
			path, module, _ := strings.Cut(line, " ")
			if path != "" && path != pkg {
				packages++
				modules[module] = true
			}
		}
		binary := filepath.Join(dir, name)
		_, took, err := goTool(filepath.Join(dir, "cache-"+name), "build", "-ldflags=-s -w", "-o", binary, pkg)
		if err != nil {
			return err
		}
		info, err := os.Stat(binary)
		if err != nil {
			return err
		}
		for i, v := range []string{
			fmt.Sprint(len(modules)), fmt.Sprint(packages), fmt.Sprintf("%.1f MB", float64(info.Size())/1e6), fmt.Sprintf("%.0f s", took.Seconds()),
		} {
			lines[i] += " | " + v
		}
	}
	for _, line := range lines {
		fmt.Println("| " + line + " |")
	}
	return nil
}

// goTool runs the go command with a build cache of its own if it builds. It
// returns the output and the CPU time that it and its children took.
func goTool(cache string, args ...string) (string, time.Duration, error) {
	cmd := exec.Command("go", args...)
	if args[0] == "build" {
		cmd.Env = append(os.Environ(), "GOCACHE="+cache)
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", 0, err
	}
	return string(out), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}
