package auth

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"flint"
)

// Signer makes and checks tokens: HS256 with one secret of the platform.
type Signer struct {
	secret []byte
	parser *jwt.Parser
}

// keyClaims are what a generated key says. The reference writes them at the top level of the token.
type keyClaims struct {
	ProjectID string   `json:"projectId"`
	Scopes    []string `json:"scopes"`
	Name      string   `json:"name,omitempty"`
	Depth     int      `json:"depth,omitempty"` // ours
	Hops      int      `json:"hops,omitempty"`  // ours
	jwt.RegisteredClaims
}

// NewSigner returns a Signer. It panics on a secret of less than 16 bytes, which would be a configuration error.
func NewSigner(secret []byte) *Signer {
	if len(secret) < 16 {
		panic("auth: the signing secret is too short")
	}
	return &Signer{
		secret: secret,
		// The algorithm is pinned: a token must not choose how it is checked.
		parser: jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired()),
	}
}

// EphemeralKey returns a key that acts with these scopes on a project until ttl is over. Nothing is stored.
func (s *Signer) EphemeralKey(project flint.ProjectID, scopes []string, ttl time.Duration) string {
	return s.FunctionKey(project, scopes, 0, 0, ttl)
}

// FunctionKey returns such a key for a function that is being called. depth says how many functions wait for what is
// done with it: itself, and those that wait for it; hops how many triggers led to the call in turn.
func (s *Signer) FunctionKey(project flint.ProjectID, scopes []string, depth, hops int, ttl time.Duration) string {
	if scopes == nil {
		scopes = []string{}
	}
	return "ephemeral_" + s.sign(&keyClaims{
		ProjectID:        string(project),
		Scopes:           scopes,
		Depth:            depth,
		Hops:             hops,
		RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(time.Now().Add(ttl))},
	})
}

func (s *Signer) sign(claims jwt.Claims) string {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(s.secret)
	if err != nil {
		panic("auth: " + err.Error()) // claims of ours always marshal
	}
	return token
}

// verify checks a token's signature and age and, with claims, reads them.
func (s *Signer) verify(token string, claims *keyClaims) error {
	if claims == nil {
		claims = &keyClaims{}
	}
	_, err := s.parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return s.secret, nil })
	return err
}

// reason says what is wrong with a token in words that give nothing away.
func reason(err error) string {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return "Token has expired"
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return "Invalid signature"
	}
	return "Invalid token"
}
