package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// process is another process of this program. It answers questions, in JSON, on
// its standard input and output, and ends when its input does.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	in    *json.Encoder
	out   *json.Decoder
}

// start starts a process that plays a role, and tells it the details.
func start(role string, details any) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, "-role", role)}
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.in, p.out = stdin, json.NewEncoder(stdin), json.NewDecoder(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.in.Encode(details); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// ask asks the process a question and waits for its answer.
func (p *process) ask(question, answer any) error {
	if err := p.in.Encode(question); err != nil {
		return err
	}
	return p.answer(answer)
}

// answer waits for an answer of the process.
func (p *process) answer(answer any) error {
	if err := p.out.Decode(answer); err != nil {
		return fmt.Errorf("%s: %w", p.cmd.Args, err)
	}
	return nil
}

func (p *process) stop() {
	p.stdin.Close()
	p.cmd.Wait()
}

// serve answers questions until there are no more.
func serve[Question, Answer any](in *json.Decoder, out *json.Encoder, answer func(Question) Answer) error {
	for {
		var q Question
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := out.Encode(answer(q)); err != nil {
			return err
		}
	}
}
