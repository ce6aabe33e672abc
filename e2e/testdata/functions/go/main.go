package handler

import (
	"os"

	"github.com/google/uuid"
	"github.com/open-runtimes/types-for-go/v4/openruntimes"
)

func Main(Context openruntimes.Context) openruntimes.Response {
	Context.Log("hello from " + os.Getenv("APPWRITE_FUNCTION_ID"))
	Context.Error("and an error")
	dependency := 0
	if _, err := uuid.Parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"); err == nil {
		dependency = 172800000
	}
	return Context.Res.Json(map[string]interface{}{
		"dependency": dependency, "greeting": os.Getenv("GREETING"), "body": Context.Req.BodyText(), "path": Context.Req.Path,
	})
}
