package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	ourModule = "github.com/lictor-go/consul"
	apiModule = "github.com/hashicorp/consul/api"
)

// errNoModules means that what a program requires cannot be had, perhaps because
// there is no network.
var errNoModules = errors.New("go mod tidy")

// program is a program in a module of its own, that requires a client and nothing
// else, as a user's module does.
type program struct {
	name string   // of its folder in imports
	edit []string // arguments of go mod edit that make its module require the client
	dir  string   // of its module

	graph, sums       int // other modules in the graph, lines of go.sum
	modules, packages int // that are linked in, beyond the standard library
	size              int64

	cold, coldCPU, warm, warmCPU []float64 // seconds that builds took
}

// imports compares what it costs a program to import a client.
func imports(s scale) error {
	dir, err := os.MkdirTemp("", "imports")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ours, api, none, err := programs(dir)
	if err != nil {
		return err
	}
	all := []*program{ours, api, none}
	for _, p := range all {
		if err := p.prepare(); err != nil {
			return err
		}
	}
	if err := builds(s, all, filepath.Join(dir, "cache")); err != nil {
		return err
	}
	fmt.Println("| program that registers and looks up, with | ours | consul/api | net/http and encoding/json alone | consul/api : ours |\n|---|---|---|---|---|")
	count := func(name string, value func(*program) int) {
		fmt.Printf("| %s | %d | %d | %d | |\n", name, value(ours), value(api), value(none))
	}
	count("other modules in the module graph (`go list -m all`)", func(p *program) int { return p.graph })
	count("lines of go.sum", func(p *program) int { return p.sums })
	count("modules linked in", func(p *program) int { return p.modules })
	count("packages beyond the standard library's", func(p *program) int { return p.packages })
	fmt.Printf("| binary, stripped | %.1f MB | %.1f MB | %.1f MB | %.2f |\n",
		float64(ours.size)/1e6, float64(api.size)/1e6, float64(none.size)/1e6, float64(api.size)/float64(ours.size))
	took := func(name string, times func(*program) []float64) {
		fmt.Printf("| %s | %.1f s | %.1f s | %.1f s | %.2f |\n", name,
			median(times(ours)), median(times(api)), median(times(none)), median(ratios(times(api), times(ours))))
	}
	if s.coldBuilds > 0 {
		took("build with an empty cache", func(p *program) []float64 { return p.cold })
		took("CPU time of that", func(p *program) []float64 { return p.coldCPU })
	}
	took("build when net/http and encoding/json are in the cache", func(p *program) []float64 { return p.warm })
	took("CPU time of that", func(p *program) []float64 { return p.warmCPU })
	return nil
}

// programs returns the programs, whose modules are going to be in dir. They require
// what this module does.
func programs(dir string) (ours, api, none *program, err error) {
	root, err := goTool("", "list", "-m", "-f", "{{.Dir}}", ourModule)
	if err != nil {
		return nil, nil, nil, err
	}
	version, err := goTool("", "list", "-m", "-f", "{{.Version}}", apiModule)
	if err != nil {
		return nil, nil, nil, err
	}
	ours = &program{name: "ours", edit: []string{"-require=" + ourModule + "@v0.0.0", "-replace=" + ourModule + "=" + root}}
	api = &program{name: "api", edit: []string{"-require=" + apiModule + "@" + version}}
	none = &program{name: "none"}
	for _, p := range []*program{ours, api, none} {
		p.dir = filepath.Join(dir, p.name)
	}
	return ours, api, none, nil
}

// prepare makes the program's module and counts what it consists of.
func (p *program) prepare() error {
	source, err := goTool("", "list", "-f", "{{.Dir}}", ourModule+"/benchmarks/imports/"+p.name)
	if err != nil {
		return err
	}
	if err := os.CopyFS(p.dir, os.DirFS(source)); err != nil {
		return err
	}
	if _, err := goTool(p.dir, "mod", "init", "example.com/program"); err != nil {
		return err
	}
	if len(p.edit) > 0 {
		if _, err := goTool(p.dir, append([]string{"mod", "edit"}, p.edit...)...); err != nil {
			return err
		}
	}
	if _, err := goTool(p.dir, "mod", "tidy"); err != nil {
		return fmt.Errorf("%w: %w", errNoModules, err)
	}
	graph, err := goTool(p.dir, "list", "-m", "all")
	if err != nil {
		return err
	}
	p.graph = strings.Count(graph, "\n") // the first line is the module itself
	sums, err := os.ReadFile(filepath.Join(p.dir, "go.sum"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p.sums = bytes.Count(sums, []byte("\n"))
	deps, err := goTool(p.dir, "list", "-deps", "-f", "{{if not (or .Standard .Module.Main)}}{{.Module.Path}}{{end}}", ".")
	if err != nil {
		return err
	}
	modules := map[string]bool{}
	for _, module := range strings.Fields(deps) {
		modules[module] = true
		p.packages++
	}
	p.modules = len(modules)
	return nil
}

// builds builds all programs, in turns: with an empty cache, and with what the last
// one of them has left in it. If there are no builds of the first kind, the user's
// cache serves for the second.
func builds(s scale, all []*program, cache string) error {
	for range s.coldBuilds {
		for _, p := range all {
			if err := os.RemoveAll(cache); err != nil {
				return err
			}
			wall, cpu, err := p.build(cache)
			if err != nil {
				return err
			}
			p.cold, p.coldCPU = append(p.cold, wall), append(p.coldCPU, cpu)
		}
	}
	for range s.warmBuilds {
		for _, p := range all {
			clone := ""
			if s.coldBuilds > 0 {
				clone = cache + "-clone"
				if err := os.CopyFS(clone, os.DirFS(cache)); err != nil {
					return err
				}
			}
			wall, cpu, err := p.build(clone)
			if err != nil {
				return err
			}
			p.warm, p.warmCPU = append(p.warm, wall), append(p.warmCPU, cpu)
			if err := os.RemoveAll(clone); err != nil {
				return err
			}
		}
	}
	return nil
}

// build builds the program with a cache, the user's if it has no name, and returns
// the seconds that it took.
func (p *program) build(cache string) (wall, cpu float64, err error) {
	binary := p.dir + ".out"
	if err := os.RemoveAll(binary); err != nil { // what is there is not linked again
		return 0, 0, err
	}
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "GOCACHE="+cache)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	wall = time.Since(start).Seconds()
	info, err := os.Stat(binary)
	if err != nil {
		return 0, 0, err
	}
	p.size = info.Size()
	return wall, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}

// goTool runs the go command in a folder and returns what it prints.
func goTool(dir string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}
