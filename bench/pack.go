package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"io"
	"io/fs"
	"mime/multipart"
	"path"
	"strings"
)

//go:embed testdata
var sources embed.FS

// pack makes the archive of a function. A file that ends in .tmpl loses that: go.mod would make its folder another
// module's, which cannot be embedded.
func pack(language string) ([]byte, error) {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	archive := tar.NewWriter(zip)
	root := path.Join("testdata", language)
	err := fs.WalkDir(sources, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := sources.ReadFile(name)
		if err != nil {
			return err
		}
		name = strings.TrimSuffix(strings.TrimPrefix(name, root+"/"), ".tmpl")
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	})
	err = errors.Join(err, archive.Close(), zip.Close())
	return b.Bytes(), err
}

// upload is the form with which a deployment is created.
func upload(language string) (form io.Reader, contentType string, err error) {
	code, err := pack(language)
	if err != nil {
		return nil, "", err
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.WriteField("activate", "true"); err != nil {
		return nil, "", err
	}
	file, err := w.CreateFormFile("code", "code.tar.gz")
	if err != nil {
		return nil, "", err
	}
	if _, err := file.Write(code); err != nil {
		return nil, "", err
	}
	return &b, w.FormDataContentType(), w.Close()
}
