package api

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"strings"
)

// Former is an answer that some clients want as a form, because JSON cannot hold it. Without fields it is JSON.
type Former interface{ Form() []FormField }

// FormField is one part of a form.
type FormField struct {
	Name  string
	Value []byte
}

// writeForm answers with a form.
func (x *exchange) writeForm(status int, fields []FormField) error {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range fields {
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + strings.ReplaceAll(f.Name, `"`, "%22") + `"`}})
		if err == nil {
			_, err = part.Write(f.Value)
		}
		if err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return x.write(status, w.FormDataContentType(), b.Bytes())
}
