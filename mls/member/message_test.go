package member

import (
	"bytes"
	"crypto/rand"
	"testing"

	"conclave/mls"
)

func TestMessageProtectionFollowsTheVectors(t *testing.T) {
	type vector struct {
		CipherSuite             mls.CipherSuite `json:"cipher_suite"`
		GroupID                 hexBytes        `json:"group_id"`
		Epoch                   mls.Epoch       `json:"epoch"`
		TreeHash                hexBytes        `json:"tree_hash"`
		ConfirmedTranscriptHash hexBytes        `json:"confirmed_transcript_hash"`
		SignaturePriv           hexBytes        `json:"signature_priv"`
		SignaturePub            hexBytes        `json:"signature_pub"`
		EncryptionSecret        hexBytes        `json:"encryption_secret"`
		SenderDataSecret        hexBytes        `json:"sender_data_secret"`
		MembershipKey           hexBytes        `json:"membership_key"`
		Proposal                hexBytes        `json:"proposal"`
		ProposalPub             hexBytes        `json:"proposal_pub"`
		ProposalPriv            hexBytes        `json:"proposal_priv"`
		Commit                  hexBytes        `json:"commit"`
		CommitPub               hexBytes        `json:"commit_pub"`
		CommitPriv              hexBytes        `json:"commit_priv"`
		Application             hexBytes        `json:"application"`
		ApplicationPriv         hexBytes        `json:"application_priv"`
	}
	for _, v := range readVectors[vector](t, "message-protection.json") {
		if !supported(v.CipherSuite) {
			continue
		}
		suite := v.CipherSuite
		ctx := &mls.GroupContext{
			Version: mls.MLS10, CipherSuite: suite, GroupID: mls.GroupID(v.GroupID), Epoch: v.Epoch,
			TreeHash: v.TreeHash, ConfirmedTranscriptHash: v.ConfirmedTranscriptHash,
		}
		signer, err := mls.NewSigner(suite, v.SignaturePriv)
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, "signature key", signer.Public(), v.SignaturePub)
		keys := func() *privateKeys {
			return &privateKeys{suite: suite, senderData: v.SenderDataSecret, tree: newSecretTree(suite, bytes.Clone(v.EncryptionSecret), 2)}
		}
		verify := func(a *mls.AuthenticatedContent) error {
			return a.SignatureCheck(suite, mls.SignatureKey(v.SignaturePub), ctx).Verify()
		}
		body := func(a *mls.AuthenticatedContent) []byte {
			switch a.Content.ContentType {
			case mls.ContentProposal:
				var w mls.Writer
				mls.WriteProposal(&w, a.Content.Proposal)
				return w.Bytes()
			case mls.ContentCommit:
				return mls.Marshal(a.Content.Commit)
			}
			return a.Content.ApplicationData
		}
		openPub := func(message, want []byte) *mls.AuthenticatedContent {
			t.Helper()
			var m mls.Message
			if err := mls.Unmarshal(message, &m); err != nil {
				t.Fatal(err)
			}
			a, err := openPublic(suite, v.MembershipKey, ctx, m.Public)
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(a); err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "content", body(a), want)
			return a
		}
		openPriv := func(message, want []byte) (out *mls.AuthenticatedContent) {
			t.Helper()
			var m mls.Message
			if err := mls.Unmarshal(message, &m); err != nil {
				t.Fatal(err)
			}
			if err := keys().open(m.Private, 0, func(a *mls.AuthenticatedContent) error {
				out = a
				return verify(a)
			}); err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "content", body(out), want)
			return out
		}
		again := func(a *mls.AuthenticatedContent, padding int) []byte {
			b := &mls.AuthenticatedContent{WireFormat: a.WireFormat, Content: a.Content}
			b.Auth.ConfirmationTag = a.Auth.ConfirmationTag
			if err := b.Sign(signer, ctx); err != nil {
				t.Fatal(err)
			}
			if a.WireFormat == mls.WirePublicMessage {
				m, err := sealPublic(suite, v.MembershipKey, ctx, b)
				if err != nil {
					t.Fatal(err)
				}
				return mls.Marshal(&mls.Message{Public: m})
			}
			m, err := keys().seal(rand.Reader, b, padding)
			if err != nil {
				t.Fatal(err)
			}
			if padding > 1 && (len(m.Ciphertext)-suite.TagSize())%padding != 0 {
				t.Fatalf("padded ciphertext is %d bytes", len(m.Ciphertext))
			}
			return mls.Marshal(&mls.Message{Private: m})
		}
		openPub(again(openPub(v.ProposalPub, v.Proposal), 0), v.Proposal)
		openPub(again(openPub(v.CommitPub, v.Commit), 0), v.Commit)
		openPriv(again(openPriv(v.ProposalPriv, v.Proposal), 0), v.Proposal)
		openPriv(again(openPriv(v.CommitPriv, v.Commit), 256), v.Commit)
		a := openPriv(v.ApplicationPriv, v.Application)
		openPriv(again(a, 100), v.Application)
		if _, err := sealPublic(suite, v.MembershipKey, ctx, a); err == nil {
			t.Fatal("application data was framed in the clear")
		}
	}
}
