package member

import (
	"testing"

	"conclave/mls"
)

func TestKeyScheduleFollowsTheVectors(t *testing.T) {
	type vector struct {
		CipherSuite       mls.CipherSuite `json:"cipher_suite"`
		GroupID           hexBytes        `json:"group_id"`
		InitialInitSecret hexBytes        `json:"initial_init_secret"`
		Epochs            []struct {
			TreeHash                hexBytes `json:"tree_hash"`
			CommitSecret            hexBytes `json:"commit_secret"`
			PSKSecret               hexBytes `json:"psk_secret"`
			ConfirmedTranscriptHash hexBytes `json:"confirmed_transcript_hash"`
			GroupContext            hexBytes `json:"group_context"`
			JoinerSecret            hexBytes `json:"joiner_secret"`
			WelcomeSecret           hexBytes `json:"welcome_secret"`
			InitSecret              hexBytes `json:"init_secret"`
			SenderDataSecret        hexBytes `json:"sender_data_secret"`
			EncryptionSecret        hexBytes `json:"encryption_secret"`
			ExporterSecret          hexBytes `json:"exporter_secret"`
			EpochAuthenticator      hexBytes `json:"epoch_authenticator"`
			ExternalSecret          hexBytes `json:"external_secret"`
			ConfirmationKey         hexBytes `json:"confirmation_key"`
			MembershipKey           hexBytes `json:"membership_key"`
			ResumptionPSK           hexBytes `json:"resumption_psk"`
			ExternalPub             hexBytes `json:"external_pub"`
			Exporter                struct {
				Label   string   `json:"label"`
				Context hexBytes `json:"context"`
				Length  int      `json:"length"`
				Secret  hexBytes `json:"secret"`
			} `json:"exporter"`
		} `json:"epochs"`
	}
	for _, v := range readVectors[vector](t, "key-schedule.json") {
		if !supported(v.CipherSuite) {
			continue
		}
		suite, last := v.CipherSuite, []byte(v.InitialInitSecret)
		for i, e := range v.Epochs {
			ctx := mls.Marshal(&mls.GroupContext{
				Version: mls.MLS10, CipherSuite: suite, GroupID: mls.GroupID(v.GroupID), Epoch: mls.Epoch(i),
				TreeHash: e.TreeHash, ConfirmedTranscriptHash: e.ConfirmedTranscriptHash,
			})
			wantBytes(t, "group context", ctx, e.GroupContext)
			joiner := joinerSecret(suite, last, e.CommitSecret, ctx)
			wantBytes(t, "joiner secret", joiner, e.JoinerSecret)
			psk := []byte(e.PSKSecret)
			if len(psk) == 0 {
				psk = make([]byte, suite.HashSize())
			}
			got, welcome, encryption := memberSecrets(suite, joiner, psk, ctx)
			wantBytes(t, "welcome secret", welcome, e.WelcomeSecret)
			wantBytes(t, "encryption secret", encryption, e.EncryptionSecret)
			wantBytes(t, "sender data secret", got.senderData, e.SenderDataSecret)
			wantBytes(t, "exporter secret", got.exporter, e.ExporterSecret)
			wantBytes(t, "epoch authenticator", got.authenticator, e.EpochAuthenticator)
			wantBytes(t, "external secret", got.external, e.ExternalSecret)
			wantBytes(t, "confirmation key", got.confirmation, e.ConfirmationKey)
			wantBytes(t, "membership key", got.membership, e.MembershipKey)
			wantBytes(t, "resumption PSK", got.resumption, e.ResumptionPSK)
			wantBytes(t, "init secret", got.init, e.InitSecret)
			external, err := got.externalKey()
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "external key", external.PublicKey().Bytes(), e.ExternalPub)
			x := e.Exporter
			exported, err := got.export(x.Label, x.Context, x.Length)
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "exporter", exported, x.Secret)
			last = e.InitSecret
		}
	}
}

func TestWipedEpochHoldsNoSecret(t *testing.T) {
	e, _ := deriveEpoch(mls.MLKEM768P256, make([]byte, 48))
	kept := e.exporter
	e.wipe()
	for _, b := range kept {
		if b != 0 {
			t.Fatal("wipe left the exporter secret in memory")
		}
	}
	if e.exporter != nil || e.init != nil {
		t.Fatal("wipe kept a reference")
	}
}

func TestPSKSecretFollowsTheVectors(t *testing.T) {
	type vector struct {
		CipherSuite mls.CipherSuite `json:"cipher_suite"`
		PSKs        []struct {
			ID    hexBytes `json:"psk_id"`
			PSK   hexBytes `json:"psk"`
			Nonce hexBytes `json:"psk_nonce"`
		} `json:"psks"`
		Secret hexBytes `json:"psk_secret"`
	}
	for _, v := range readVectors[vector](t, "psk_secret.json") {
		if !supported(v.CipherSuite) {
			continue
		}
		var store pskStore
		var ids []mls.PreSharedKeyID
		for _, p := range v.PSKs {
			store.add(p.ID, p.PSK)
			ids = append(ids, mls.PreSharedKeyID{Type: mls.PSKExternal, ID: p.ID, Nonce: p.Nonce})
		}
		got, err := store.secret(v.CipherSuite, ids)
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, "PSK secret", got, v.Secret)
	}
}

// With all secrets the same, an epoch authenticator is still of one roster: the group context holds the hash of the tree, in
// which every leaf's identity and keys are.
func TestTheEpochAuthenticatorIsOfOneRosterOnly(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	suite, encoded := r.suite, mls.Marshal(r.member(0).Tree())
	joiner, psk := make([]byte, suite.HashSize()), make([]byte, suite.HashSize())
	authenticator := func(change func(*mls.RatchetTree)) string {
		tree := must(mls.ParseRatchetTree(suite, encoded))(t)
		change(tree)
		c := r.member(0).Context().Clone()
		// Read again, so that no hash of before is left in it.
		c.TreeHash = must(mls.ParseRatchetTree(suite, mls.Marshal(tree)))(t).TreeHash()
		e, _, _ := memberSecrets(suite, joiner, psk, mls.Marshal(c))
		return string(e.authenticator)
	}
	seen := map[string]string{}
	for name, change := range map[string]func(*mls.RatchetTree){
		"as it is":               func(*mls.RatchetTree) {},
		"another identity":       func(t *mls.RatchetTree) { t.Leaf(1).Credential = mls.BasicCredential([]byte("ok other")) },
		"another signature key":  func(t *mls.RatchetTree) { t.Leaf(1).SignatureKey = t.Leaf(2).SignatureKey },
		"another encryption key": func(t *mls.RatchetTree) { t.Leaf(1).EncryptionKey = t.Leaf(2).EncryptionKey },
		"another pass":           func(t *mls.RatchetTree) { t.Leaf(1).Extensions = mls.Extensions{{Type: 0xF000, Data: []byte{1}}} },
		"one fewer":              func(t *mls.RatchetTree) { t.Remove(1) },
		"two in other places": func(t *mls.RatchetTree) {
			a, b := t.Leaf(1), t.Leaf(2)
			*a, *b = *b, *a
		},
	} {
		code := authenticator(change)
		if before, twice := seen[code]; twice {
			t.Errorf("%q and %q have one authenticator", name, before)
		}
		seen[code] = name
	}
	first, second := authenticator(func(*mls.RatchetTree) {}), authenticator(func(*mls.RatchetTree) {})
	if first != second {
		t.Error("one roster has two authenticators")
	}
}
