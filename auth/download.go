package auth

import (
	"time"

	"github.com/golang-jwt/jwt/v5"

	"flint"
)

// downloadClaims say which file of which deployment a token opens.
type downloadClaims struct {
	DeploymentID string `json:"deploymentId"`
	Type         string `json:"type"`
	jwt.RegisteredClaims
}

// DownloadToken returns a token that lets whoever has it download a deployment's source or output until ttl is over.
func (s *Signer) DownloadToken(id flint.DeploymentID, file string, ttl time.Duration) string {
	return s.sign(&downloadClaims{
		DeploymentID: string(id), Type: file, RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(time.Now().Add(ttl))},
	})
}

// MayDownload reports whether a token lets its bearer download that file of a deployment.
func (s *Signer) MayDownload(token string, id flint.DeploymentID, file string) bool {
	var c downloadClaims
	_, err := s.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return s.secret, nil })
	return err == nil && id != "" && c.DeploymentID == string(id) && c.Type == file
}
