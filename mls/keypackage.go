package mls

// KeyPackage lets others add its owner to a group while he is away (Section 10).
type KeyPackage struct {
	Version     ProtocolVersion
	CipherSuite CipherSuite
	InitKey     EncryptionKey
	LeafNode    *LeafNode
	Extensions  Extensions
	Signature   []byte
}

func (k *KeyPackage) marshalBody(w *Writer) {
	w.Uint16(uint16(k.Version))
	w.Uint16(uint16(k.CipherSuite))
	w.Opaque(k.InitKey)
	k.LeafNode.MarshalMLS(w)
	k.Extensions.MarshalMLS(w)
}

// MarshalMLS encodes.
func (k *KeyPackage) MarshalMLS(w *Writer) {
	k.marshalBody(w)
	w.Opaque(k.Signature)
}

// UnmarshalMLS decodes.
func (k *KeyPackage) UnmarshalMLS(r *Reader) {
	k.Version = ProtocolVersion(r.Uint16())
	k.CipherSuite = CipherSuite(r.Uint16())
	k.InitKey = r.Opaque(maxSmall)
	k.LeafNode = new(LeafNode)
	k.LeafNode.UnmarshalMLS(r)
	k.Extensions.UnmarshalMLS(r)
	k.Signature = r.Opaque(maxSmall)
}

const keyPackageLabel = "KeyPackageTBS"

// TBS encodes what the signature covers, less the label: KeyPackageTBS.
func (k *KeyPackage) TBS() []byte {
	var w Writer
	k.marshalBody(&w)
	return w.buf
}

// Sign sets the signature, by the key of the leaf, which must be signed already.
func (k *KeyPackage) Sign(s Signer) error {
	if err := k.checkForm(); err != nil {
		return err
	}
	sig, err := SignWithLabel(s, keyPackageLabel, k.TBS())
	if err != nil {
		return err
	}
	k.Signature = sig
	return nil
}

// SignatureChecks returns what verifies the key package's signature and that of its leaf.
func (k *KeyPackage) SignatureChecks() []SignatureCheck {
	return []SignatureCheck{
		k.LeafNode.SignatureCheck(k.CipherSuite, nil, 0),
		{k.CipherSuite, k.LeafNode.SignatureKey, SignContent(keyPackageLabel, k.TBS()), k.Signature},
	}
}

// KeyPackageRef names a key package (Section 5.2).
type KeyPackageRef []byte

// Ref returns the reference of the key package, whose suite must be supported.
func (k *KeyPackage) Ref() KeyPackageRef {
	return k.CipherSuite.RefHash("MLS 1.0 KeyPackage Reference", Marshal(k))
}
