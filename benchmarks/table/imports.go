package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
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

	cold, warm buildTimes
}

// buildTimes are the seconds that builds took.
type buildTimes struct{ wall, cpu []float64 }

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
	if err := builds(s, all, dir); err != nil {
		return err
	}
	show("%s\n", "| program that registers and looks up, with | ours | consul/api | net/http and encoding/json alone | consul/api : ours |\n|---|---|---|---|---|")
	count := func(name string, value func(*program) int) {
		show("| %s | %d | %d | %d | |\n", name, value(ours), value(api), value(none))
	}
	count("other modules in the module graph (`go list -m all`)", func(p *program) int { return p.graph })
	count("lines of go.sum", func(p *program) int { return p.sums })
	count("modules linked in", func(p *program) int { return p.modules })
	count("packages beyond the standard library's", func(p *program) int { return p.packages })
	show("| binary, stripped | %.1f MB | %.1f MB | %.1f MB | %.2f |\n",
		float64(ours.size)/1e6, float64(api.size)/1e6, float64(none.size)/1e6, float64(api.size)/float64(ours.size))
	took := func(name string, ours, api, none []float64) {
		show("| %s | %.1f s | %.1f s | %.1f s | %.2f |\n", name, median(ours), median(api), median(none), median(ratios(api, ours)))
	}
	if s.coldBuilds > 0 {
		took("build with an empty cache", ours.cold.wall, api.cold.wall, none.cold.wall)
		took("CPU time of that", ours.cold.cpu, api.cold.cpu, none.cold.cpu)
	}
	took("build after one of net/http and encoding/json alone", ours.warm.wall, api.warm.wall, none.warm.wall)
	took("CPU time of that", ours.warm.cpu, api.warm.cpu, none.warm.cpu)
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
	ours = &program{name: "ours", edit: requireOurs(root)}
	api = &program{name: "api", edit: []string{"-require=" + apiModule + "@" + version}}
	none = &program{name: "none"}
	for _, p := range []*program{ours, api, none} {
		p.dir = filepath.Join(dir, p.name)
	}
	return ours, api, none, nil
}

// requireOurs are the arguments of go mod edit that make a module require ours as it
// is in a folder.
func requireOurs(root string) []string {
	return []string{"-require=" + ourModule + "@v0.0.0", "-replace=" + ourModule + "=" + root}
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

// builds builds the programs in turns: with an empty cache, and with one in which
// building the last of them has left the standard library. If there are no builds
// of the first kind, the user's cache serves for the second.
func builds(s scale, all []*program, dir string) error {
	library := filepath.Join(dir, "library")
	for range s.coldBuilds {
		for _, p := range all {
			if err := os.RemoveAll(library); err != nil {
				return err
			}
			if err := p.build(library, &p.cold); err != nil {
				return err
			}
		}
	}
	if s.coldBuilds == 0 {
		library = ""
	}
	return warmBuilds(s, all, library)
}

// warmBuilds builds the programs in turns, with a copy of a cache each time. If the
// cache has no name, it is the user's.
func warmBuilds(s scale, all []*program, library string) error {
	for range s.warmBuilds {
		for _, p := range all {
			cache := ""
			if library != "" {
				cache = library + ".scratch"
				if err := linkTree(library, cache); err != nil {
					return err
				}
			}
			if err := p.build(cache, &p.warm); err != nil {
				return err
			}
			if err := os.RemoveAll(cache); err != nil {
				return err
			}
		}
	}
	return nil
}

// linkTree makes a folder with links to the files of another. Files of a build cache
// are not changed once they are written.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(filepath.Join(to, rel), 0o700)
		}
		return os.Link(path, filepath.Join(to, rel))
	})
}

// build builds the program with a cache, the user's if it has no name, and adds
// what it took.
func (p *program) build(cache string, took *buildTimes) error {
	binary := p.dir + ".out"
	if err := os.RemoveAll(binary); err != nil { // what is there is not linked again
		return err
	}
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "GOCACHE="+cache)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	took.wall = append(took.wall, time.Since(start).Seconds())
	took.cpu = append(took.cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	p.size = info.Size()
	return nil
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
