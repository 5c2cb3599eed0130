package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"manti/db/internal/cluster"
)

// makingSuffix marks a cluster in the making: a file of this name stands beside
// it from before initdb until after the rename.
const makingSuffix = ".making"

// ensureCluster makes the cluster if there is none.
func (f folder) ensureCluster(ctx context.Context, programs cluster.Programs) error {
	f.removeHalfMade()
	if _, err := os.Lstat(f.clusterDir()); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	password, err := f.password(true)
	if err != nil {
		return fmt.Errorf("write password: %w", err)
	}
	making, err := os.MkdirTemp(f.dir, "cluster-")
	if err != nil {
		return err
	}
	if err := writeFile(making+makingSuffix, nil); err != nil {
		return errors.Join(err, os.Remove(making))
	}
	if err := f.account.Own(making); err != nil {
		return fmt.Errorf("give the cluster to %s: %w", f.account, err)
	}
	err = cluster.Init(ctx, cluster.InitConfig{
		Programs: programs, Account: f.account, DataDir: making, Superuser: superuser, Password: password,
	})
	if err != nil {
		f.removeHalfMade()
		return withHint(err, f.account)
	}
	if err := os.Rename(making, f.clusterDir()); err != nil {
		return err
	}
	if err := syncDir(f.dir); err != nil {
		return err
	}
	return os.Remove(making + makingSuffix)
}

// removeHalfMade removes what an interrupted initdb has left. That it is ours and
// was never complete is proven by its mark, which only ensureCluster makes and
// which goes with the rename, and by the absence of postmaster.opts, which the
// first start of any server writes into its cluster. The caller holds the lock,
// so none is being made. Whatever lacks a proof stays where it is.
func (f folder) removeHalfMade() {
	marks, err := filepath.Glob(filepath.Join(f.dir, "cluster-*"+makingSuffix))
	if err != nil {
		return
	}
	for _, mark := range marks {
		half := mark[:len(mark)-len(makingSuffix)]
		if _, err := os.Lstat(filepath.Join(half, "postmaster.opts")); !errors.Is(err, os.ErrNotExist) {
			continue
		}
		if os.RemoveAll(half) == nil {
			_ = os.Remove(mark) // else the next start tries again
		}
	}
}
