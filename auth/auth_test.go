package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"flint"
	"flint/auth"
)

type bed struct {
	*auth.Authenticator
	signer   *auth.Signer
	lookups  int
	projects map[flint.ProjectID]*flint.Project
	keys     map[string]*flint.Key
}

func setup(t testing.TB) *bed {
	t.Helper()
	b := &bed{
		signer:   auth.NewSigner([]byte("0123456789abcdef0123456789abcdef")),
		projects: map[flint.ProjectID]*flint.Project{"demo": {ID: "demo"}, "other": {ID: "other"}},
		keys: map[string]*flint.Key{
			"standard_good":  {ID: "k1", Name: "ci", Project: "demo", Scopes: []string{"functions.read"}},
			"standard_other": {ID: "k2", Project: "other"},
			"standard_old":   {ID: "k3", Project: "demo", ExpireAt: time.Now().Add(-time.Minute)},
			"legacy":         {ID: "k4", Project: "demo"},
		},
	}
	b.Authenticator = auth.New(auth.Config{
		Project: func(_ context.Context, id flint.ProjectID) (*flint.Project, error) {
			b.lookups++
			if p := b.projects[id]; p != nil {
				return p, nil
			}
			return nil, flint.ErrProjectNotFound
		},
		Key: func(_ context.Context, secret string) (*flint.Key, error) {
			b.lookups++
			return b.keys[secret], nil
		},
		Signer: b.signer,
	})
	return b
}

func request(target string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.signer.EphemeralKey("demo", []string{"users.read"}, time.Minute)
	stale := b.signer.EphemeralKey("demo", nil, -time.Minute)
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"projectId": "demo", "scopes": []string{"users.read"}, "exp": time.Now().Add(time.Hour).Unix()}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	timeless, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"projectId": "demo"}).SignedString([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	const project, secret, token = "X-Appwrite-Project", "X-Appwrite-Key", "X-Appwrite-JWT"
	for _, c := range []struct {
		name string
		r    *http.Request
		kind auth.Kind
		in   flint.ProjectID
		err  error
	}{
		{"nobody", request("/"), auth.Guest, "", nil},
		{"guest of a project", request("/", project, "demo"), auth.Guest, "demo", nil},
		{"guest by query", request("/?project=demo"), auth.Guest, "demo", nil},
		{"guest of the console", request("/", project, "console"), auth.Guest, "", nil},
		{"unknown project", request("/", project, "nope"), 0, "", flint.ErrProjectNotFound},
		{"no identifier", request("/", project, "../x"), 0, "", flint.ErrProjectNotFound},
		{"admin of nothing", request("/", "X-Appwrite-Mode", "admin"), 0, "", flint.ErrBadRequest},
		{"key without a project", request("/?project=demo", secret, "standard_good"), 0, "", flint.ErrProjectIDMissing},
		{"key", request("/", project, "demo", secret, "standard_good"), auth.Key, "demo", nil},
		{"key without a prefix", request("/", project, "demo", secret, "legacy"), auth.Key, "demo", nil},
		{"key of another project", request("/", project, "demo", secret, "standard_other"), 0, "", flint.ErrProjectIDMissing},
		{"key on the console", request("/", project, "console", secret, "standard_good"), 0, "", flint.ErrProjectIDMissing},
		{"unknown key", request("/", project, "demo", secret, "standard_bad"), 0, "", flint.ErrUserUnauthorized},
		{"unknown key without a prefix", request("/", project, "demo", secret, "bad"), 0, "", flint.ErrUserUnauthorized},
		{"expired key", request("/", project, "demo", secret, "standard_old"), 0, "", flint.ErrKeyExpired},
		{"key of an unknown sort", request("/", project, "demo", secret, "foo_good"), auth.Guest, "demo", nil},
		{"ephemeral key", request("/", project, "demo", secret, key), auth.Key, "demo", nil},
		{"dynamic key", request("/", project, "demo", secret, "dynamic_"+strings.TrimPrefix(key, "ephemeral_")), auth.Key, "demo", nil},
		{"ephemeral key elsewhere", request("/", project, "other", secret, key), auth.Guest, "other", nil},
		{"expired ephemeral key", request("/", project, "demo", secret, stale), auth.Guest, "demo", nil},
		{"broken ephemeral key", request("/", project, "demo", secret, key[:len(key)-4]+"AAAA"), auth.Guest, "demo", nil},
		{"unsigned ephemeral key", request("/", project, "demo", secret, "ephemeral_"+unsigned), auth.Guest, "demo", nil},
		{"ephemeral key without an end", request("/", project, "demo", secret, "ephemeral_"+timeless), auth.Guest, "demo", nil},
		{"bad JWT", request("/", project, "demo", token, "x"), 0, "", flint.ErrInvalidJWT},
		{"bad JWT with a key", request("/", project, "demo", token, "x", secret, "standard_good"), 0, "", flint.ErrInvalidJWT},
		{"bad JWT without a project", request("/", token, "x"), auth.Guest, "", nil},
		{"good JWT of a user who is gone", request("/", project, "demo", token, strings.TrimPrefix(key, "ephemeral_")), auth.Guest, "demo", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := b.Authenticate(c.r)
			if !errors.Is(err, c.err) {
				t.Fatalf("Authenticate() error = %v, want %v", err, c.err)
			}
			if err == nil && (p.Kind != c.kind || p.ProjectID() != c.in) {
				t.Errorf("Authenticate() = %v of %q, want %v of %q", p.Kind, p.ProjectID(), c.kind, c.in)
			}
		})
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range []struct {
		name    string
		r       *http.Request
		scopes  []string
		err     error
		message string
	}{
		{"a key's own scope", request("/", "X-Appwrite-Project", "demo", "X-Appwrite-Key", "standard_good"), []string{"functions.read"}, nil, ""},
		{"a scope of every key", request("/", "X-Appwrite-Project", "demo", "X-Appwrite-Key", "standard_good"), []string{"health.read"}, nil, ""},
		{"what is public", request("/", "X-Appwrite-Project", "demo", "X-Appwrite-Key", "standard_good"), []string{auth.Public}, nil, ""},
		{"any of two", request("/", "X-Appwrite-Project", "demo"), []string{"execution.write", "executions.write"}, nil, ""},
		{
			"a scope that the key lacks", request("http://api.test:80/", "X-Appwrite-Project", "demo", "X-Appwrite-Key", "standard_good"),
			[]string{"functions.write"},
			flint.ErrUnauthorizedScope, `app.demo@service.api.test (role: applications) missing scopes (["functions.write"])`,
		},
		{"a scope that guests lack", request("/", "X-Appwrite-Project", "demo"), []string{"functions.read"}, flint.ErrUnauthorizedScope, `User (role: guests) missing scopes (["functions.read"])`},
		{"no project, no scope", request("/"), []string{"functions.read"}, flint.ErrUnauthorizedScope, ""},
		{"no project, a guest's scope", request("/"), []string{"executions.write"}, flint.ErrAccessForbidden, ""},
		{"no project, what is public", request("/"), []string{auth.Public}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := b.Authenticate(c.r)
			if err != nil {
				t.Fatal(err)
			}
			err = p.Authorize(c.r.Host, c.scopes...)
			if !errors.Is(err, c.err) {
				t.Fatalf("Authorize() = %v, want %v", err, c.err)
			}
			var known *flint.Error
			if c.message != "" && (!errors.As(err, &known) || known.Message != c.message) {
				t.Errorf("Authorize() = %v, want %q", err, c.message)
			}
		})
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	r := request("/", "X-Appwrite-Project", "demo", "X-Appwrite-Key", "standard_good")
	authenticate := func(b *bed) error { _, err := b.Authenticate(r); return err }

	t.Run("a known caller costs no look-up", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for range 3 {
			if err := authenticate(b); err != nil {
				t.Fatal(err)
			}
		}
		if b.lookups != 2 {
			t.Errorf("%d look-ups, want 2", b.lookups)
		}
	})
	t.Run("a forgotten key is looked up again", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for _, forget := range []func(){
			func() { b.Forget(auth.HashKey("standard_good")) },
			func() { b.Forget("") },
			func() { b.ForgetProject("demo") },
		} {
			b.keys["standard_good"] = &flint.Key{Project: "demo"}
			if err := authenticate(b); err != nil {
				t.Fatal(err)
			}
			delete(b.keys, "standard_good")
			forget()
			if err := authenticate(b); !errors.Is(err, flint.ErrUserUnauthorized) {
				t.Errorf("after forgetting: %v, want %v", err, flint.ErrUserUnauthorized)
			}
		}
	})
	t.Run("a key that is made later works at once", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		key := b.keys["standard_good"]
		delete(b.keys, "standard_good")
		if err := authenticate(b); !errors.Is(err, flint.ErrUserUnauthorized) {
			t.Fatal(err)
		}
		b.keys["standard_good"] = key
		if err := authenticate(b); err != nil {
			t.Error(err)
		}
	})
	t.Run("a look-up that a change overtook is not remembered", func(t *testing.T) {
		t.Parallel()
		key := &flint.Key{Project: "demo"}
		var a *auth.Authenticator
		overtake := true
		a = auth.New(auth.Config{
			Project: func(_ context.Context, id flint.ProjectID) (*flint.Project, error) {
				return &flint.Project{ID: id}, nil
			},
			Key: func(_ context.Context, secret string) (*flint.Key, error) {
				found := key
				if overtake { // the key is deleted after it was read
					overtake, key = false, nil
					a.Forget(auth.HashKey(secret))
				}
				return found, nil
			},
			Signer: auth.NewSigner(make([]byte, 32)),
		})
		if _, err := a.Authenticate(r); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Authenticate(r); !errors.Is(err, flint.ErrUserUnauthorized) {
			t.Errorf("Authenticate() = %v, want %v", err, flint.ErrUserUnauthorized)
		}
	})
	t.Run("it is bounded", func(t *testing.T) {
		t.Parallel()
		lookups := 0
		a := auth.New(auth.Config{
			Project: func(_ context.Context, id flint.ProjectID) (*flint.Project, error) {
				lookups++
				return &flint.Project{ID: id}, nil
			},
			Key:     func(context.Context, string) (*flint.Key, error) { return nil, nil },
			Signer:  auth.NewSigner(make([]byte, 32)),
			Entries: 2,
		})
		for range 2 {
			for _, id := range []string{"a", "b", "c"} {
				if _, err := a.Authenticate(request("/", "X-Appwrite-Project", id)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if lookups < 4 {
			t.Errorf("%d look-ups of three projects with room for two, want at least 4", lookups)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	bed := setup(b)
	for name, secret := range map[string]string{"standard": "standard_good", "ephemeral": bed.signer.EphemeralKey("demo", nil, time.Hour)} {
		r := request("/", "X-Appwrite-Project", "demo", "X-Appwrite-Key", secret)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bed.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
