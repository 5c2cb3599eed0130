package dbtest

import (
	"context"
	"path/filepath"

	"manti/db"
)

// JoinIn joins or starts a shared server whose folder is dir and which ends
// as soon as its last user is gone. It returns the instance's folder and URL.
func JoinIn(ctx context.Context, dir string) (instance string, url db.URL, err error) {
	r, err := newRegistry(ctx)
	if err != nil {
		return "", "", err
	}
	r.dir, r.grace = dir, 0
	name, err := r.joinOrStart(ctx)
	if err != nil {
		return "", "", err
	}
	return filepath.Join(dir, name), r.url(name), nil
}
