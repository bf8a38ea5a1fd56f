package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave/audit"
	"conclave/audit/folder"
	"conclave/exposure"
	"conclave/exposure/page"
	"conclave/merkle"
)

// evidencePatience is how long a bundle waits for a checkpoint that covers its own record: the server signs ten times a second,
// witnesses are asked each second.
const evidencePatience = 15 * time.Second

// bundle writes an evidence bundle. That its report was made is a record first, where the server of this log answers.
func (o *investigateOptions) bundle(ctx context.Context, k *call, e *evidence, t *exposure.Timeline, r *exposure.Report, zone *time.Location, witnesses []merkle.Key, online bool) error {
	name := filepath.Base(o.evidence)
	out := folder.Evidence{Meeting: t.Meeting, Records: slices.Clone(t.Records), Made: merkle.Size(r.Log.Size), Witnesses: witnesses,
		Readme: []byte(page.EvidenceReadme(o.lang, name, t.Meeting.Text(), e.reader.Organisation().RootHash()))}
	var err error
	if out.Data, err = reportJSON(r); err != nil {
		return err
	}
	if out.Page, err = o.page(r, zone, "conclave audit verify "+quoted(name), ""); err != nil {
		return err
	}
	if online {
		var answer struct {
			Record audit.Index `json:"record"`
		}
		reason := o.reason
		if reason == "" {
			reason = "evidence"
		}
		if err := newAdmin(o.data).ask(ctx, "/investigations", map[string]any{"meeting": t.Meeting.Text(), "reason": reason, "report": out.ReportDigest()}, &answer); err != nil {
			return fmt.Errorf("the evidence could not be recorded, so that none is written: %w", err)
		}
		out.Records = append(out.Records, answer.Record)
	} else {
		fmt.Fprintln(k.stderr, "No server of this log answers: no record bears out that this report was made.")
	}
	content, err := o.prove(ctx, k, e, &out)
	if err != nil {
		return err
	}
	if err := replaceFile(o.evidence, content); err != nil {
		return err
	}
	fmt.Fprintf(k.stdout, "the evidence is in %s: %d records with their proofs; conclave audit verify checks it by itself\n", o.evidence, len(out.Records))
	return nil
}

// prove waits for a checkpoint that covers all records, and for its witnesses; without these it goes on after a while.
func (o *investigateOptions) prove(ctx context.Context, k *call, e *evidence, out *folder.Evidence) ([]byte, error) {
	last := merkle.Size(out.Records[len(out.Records)-1])
	for deadline := time.Now().Add(evidencePatience); ; {
		reader, err := folder.Open(e.fsys, o.root)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		late := time.Now().After(deadline)
		if reader.Checkpoint().Size >= last {
			err = reader.WriteEvidence(&b, out)
			if err == nil || !errors.Is(err, folder.ErrNotCosigned) {
				return b.Bytes(), err
			}
			if late {
				fmt.Fprintln(k.stderr, "The witnesses have not signed what the newest records stand in: the evidence goes without their signatures.")
				out.Witnesses, deadline = nil, deadline.Add(evidencePatience)
				continue
			}
		} else if late {
			return nil, errors.New("the server has signed no checkpoint that covers the evidence's own record")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// isEvidence says whether a path is a bundle rather than a folder.
func isEvidence(path string) bool { return isFile(path) }

// verifyEvidence checks a bundle by itself.
func (o *auditOptions) verifyEvidence(k *call, path string, options folder.Options) error {
	if len(o.checkpoints) > 0 {
		return usageError{"an evidence bundle has its own checkpoint: --checkpoint is for folders"}
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	borne, err := folder.VerifyEvidence(f, info.Size(), options)
	var wrong *folder.Wrong
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	if o.json {
		enc := json.NewEncoder(k.stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(struct {
			Holds bool          `json:"holds"`
			Wrong *folder.Wrong `json:"wrong,omitempty"`
			Borne *folder.Borne `json:"result,omitempty"`
		}{wrong == nil, wrong, borne}); err != nil {
			return err
		}
	}
	if wrong != nil {
		return wrong
	}
	if !o.json {
		tellBorne(k.stdout, borne)
	}
	return nil
}

// tellBorne says in a sentence what a bundle shows, and below what it does not.
func tellBorne(w io.Writer, b *folder.Borne) {
	fmt.Fprintf(w, "The evidence holds: all %d records of meeting %s stand in the log of %s, under its signed state of %d records.\n", b.Records, b.Meeting, b.Organisation, b.Size)
	if b.Report != 0 {
		fmt.Fprintf(w, "The report is the one that record %d commits to.\n", b.Report)
	} else {
		fmt.Fprintln(w, "No record bears the report itself out: that it was made of these records says who gave it to you.")
	}
	if !b.Pinned {
		fmt.Fprintf(w, "Nothing was compared with what you know of the organisation: its root key's hash is %s; give it with --root.\n", b.RootHash)
	}
	if b.Erased > 0 {
		fmt.Fprintf(w, "The personal parts of %d records had been erased.\n", b.Erased)
	}
	var names []string
	for _, c := range b.Cosigned {
		names = append(names, c.Witness+" on "+moment(c.At))
	}
	if len(names) > 0 {
		fmt.Fprintf(w, "Cosigned by %s.\n", strings.Join(names, ", "))
	} else {
		fmt.Fprintln(w, "No witness's signature was looked at: that the organisation shows everybody the same log rests on its word.")
	}
	fmt.Fprintf(w, "That the log has no further record of the meeting shows the log alone: conclave audit verify FOLDER, %s records.\n", strconv.FormatUint(uint64(b.Size), 10))
}
