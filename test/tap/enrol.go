package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/mls"
	"conclave/signal"
)

// organisation is what a server says of its organisation and of a device that it enrolled.
type organisation struct {
	ID   conclave.OrganisationID `json:"id"`
	Root []byte                  `json:"root"`
}

// enrol makes a device key and has it enrolled with a one-time token. It pins whatever root the server names: who taps here
// tests others, not itself.
func enrol(server, token string) (endpoint.Identity, organisation, error) {
	var org organisation
	client := &http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get(server + "/v1/organisation")
	if err != nil {
		return endpoint.Identity{}, org, err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&org); err != nil {
		return endpoint.Identity{}, org, fmt.Errorf("organisation: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return endpoint.Identity{}, org, err
	}
	scalar, err := key.Bytes()
	if err != nil {
		return endpoint.Identity{}, org, err
	}
	signer, err := mls.NewSigner(mls.MLKEM768P256, scalar)
	if err != nil {
		return endpoint.Identity{}, org, err
	}
	sum := sha256.Sum256(signal.EnrolContent(token))
	proof, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		return endpoint.Identity{}, org, err
	}
	body, err := json.Marshal(map[string]any{"token": token, "leaf_key": signer.Public(), "proof": proof, "device_name": "tap"})
	if err != nil {
		return endpoint.Identity{}, org, err
	}
	answer, err = client.Post(server+"/v1/enrol", "application/json", bytes.NewReader(body))
	if err != nil {
		return endpoint.Identity{}, org, err
	}
	defer answer.Body.Close()
	var device struct {
		Statement []byte            `json:"statement"`
		Problem   *conclave.Problem `json:"problem"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&device); err != nil || device.Statement == nil {
		return endpoint.Identity{}, org, fmt.Errorf("enrol: %s: %v", answer.Status, device.Problem)
	}
	return endpoint.Identity{Statement: device.Statement, Signer: signer}, org, nil
}
