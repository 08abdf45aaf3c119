package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// users are programs that use a part of our client.
var users = []struct{ name, does string }{
	{"ours", "registers and looks up"},
	{"resolves", "registers, and resolves with discovery"},
}

// footprint measures what programs pay that use a part of our client, and with
// -since what they paid at an earlier commit: what they do not use is not linked
// in, so that additions to the client cost them next to nothing.
func footprint(s scale) error {
	dir, err := os.MkdirTemp("", "footprint")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	now, err := goTool("", "list", "-m", "-f", "{{.Dir}}", ourModule)
	if err != nil {
		return err
	}
	roots := []string{now}
	if s.since != "" {
		then := filepath.Join(dir, "since")
		if err := checkOut(now, s.since, then); err != nil {
			return err
		}
		roots = append(roots, then)
	}
	var all []*program // of each user, now and then
	for _, u := range users {
		for i, root := range roots {
			p := &program{name: u.name, edit: requireOurs(root), dir: filepath.Join(dir, fmt.Sprint(u.name, i))}
			if err := p.prepare(); err != nil {
				return err
			}
			all = append(all, p)
		}
	}
	library := ""
	if s.coldBuilds > 0 {
		none := &program{name: "none", dir: filepath.Join(dir, "none")}
		if err := none.prepare(); err != nil {
			return err
		}
		library = filepath.Join(dir, "library")
		if err := none.build(library, &none.cold); err != nil {
			return err
		}
	}
	if err := warmBuilds(s, all, library); err != nil {
		return err
	}
	showFootprint(s.since, all)
	return nil
}

func showFootprint(since string, all []*program) {
	if since == "" {
		show("%s\n", "| program that | binary, stripped | CPU time of a build after one of net/http and encoding/json alone |\n|---|---|---|")
		for i, p := range all {
			show("| %s | %.2f MB | %.2f s |\n", users[i].does, float64(p.size)/1e6, median(p.warm.cpu))
		}
		return
	}
	show("| program that | binary, stripped | at %s | now : then | CPU time of a build after one of net/http and encoding/json alone | at %s | now : then |\n|---|---|---|---|---|---|---|\n", since, since)
	for i, u := range users {
		now, then := all[2*i], all[2*i+1]
		show("| %s | %.2f MB | %.2f MB | %.3f | %.2f s | %.2f s | %.2f |\n", u.does,
			float64(now.size)/1e6, float64(then.size)/1e6, float64(now.size)/float64(then.size),
			median(now.warm.cpu), median(then.warm.cpu), median(ratios(now.warm.cpu, then.warm.cpu)))
	}
}

// checkOut puts the files of a commit of the repository at root into dir.
func checkOut(root, commit, dir string) error {
	archive := exec.Command("git", "-C", root, "archive", commit)
	files, err := archive.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	unpack := exec.Command("tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(files)
	if out, err := unpack.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", unpack, err, out)
	}
	return nil
}
