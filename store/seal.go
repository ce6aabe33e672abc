package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// newSeal derives the key that seals values from the platform's secret.
func newSeal(secret []byte) (cipher.AEAD, error) {
	if len(secret) != 32 {
		return nil, fmt.Errorf("store: the secret has %d bytes, want 32", len(secret))
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "flint store values", 32)
	if err != nil {
		return nil, fmt.Errorf("store: derive key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return cipher.NewGCM(block)
}

// sealed encrypts a value. place names the row and column: a sealed value opens nowhere else.
func (s *Store) sealed(value string, place ...string) string {
	nonce := make([]byte, s.seal.NonceSize(), s.seal.NonceSize()+len(value)+s.seal.Overhead())
	_, _ = rand.Read(nonce) // never fails
	return base64.RawStdEncoding.EncodeToString(s.seal.Seal(nonce, nonce, []byte(value), additional(place)))
}

func (s *Store) unsealed(text string, place ...string) (string, error) {
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(b) < s.seal.NonceSize() {
		return "", fmt.Errorf("the sealed value of %q is damaged", place)
	}
	n := s.seal.NonceSize()
	value, err := s.seal.Open(nil, b[:n], b[n:], additional(place))
	if err != nil {
		return "", fmt.Errorf("the sealed value of %q does not open: it is damaged, or was sealed with another secret", place)
	}
	return string(value), nil
}

func additional(place []string) []byte {
	var b []byte
	for _, p := range place {
		b = fmt.Appendf(b, "%d:%s", len(p), p)
	}
	return b
}

// checkSecret refuses a secret that the database's values were not sealed with.
func (s *Store) checkSecret(ctx context.Context) error {
	const place, text = "meta", "sealed with the right secret"
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		var value string
		found, err := t.one(ctx, "select value from meta where name = 'secret'", nil, func(r scanner) error { return r.Scan(&value) })
		switch {
		case err != nil:
			return err
		case !found:
			return t.exec(ctx, "insert into meta (name, value) values ('secret', $1)", s.sealed(text, place))
		}
		if got, err := s.unsealed(value, place); err != nil || got != text {
			return errors.New("this database was sealed with another secret")
		}
		return nil
	})
}

// HashSecret is what a key is looked up by: the SHA-256 of its secret in hexadecimal.
func HashSecret(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}
