package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"cordee/internal/tomlfile"
)

// checkSecrets looks at the files that hold passwords.
func checkSecrets(f *tomlfile.File, c *Config) {
	check := func(path, name string) {
		if name == "" || f.Failed(path) {
			return
		}
		if err := secret(name); err != nil {
			f.Errorf(path, "%v", err)
		}
	}
	for i, n := range c.Nodes {
		check(tomlfile.Index("node", i)+".password_file", n.PasswordFile)
	}
	if r := c.Redis; r != nil {
		check("redis.password_file", r.PasswordFile)
		check("redis.sentinel_password_file", r.SentinelPasswordFile)
	}
}

// secret says what is wrong with a file that must exist and hold a secret.
func secret(name string) error {
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", name)
	case err != nil:
		return fmt.Errorf("cannot be read: %w", err)
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", name)
	case st.Size() == 0:
		return fmt.Errorf("%s is empty", name)
	case st.Mode().Perm()&0o007 != 0:
		return fmt.Errorf("%s has mode %04o, so that everyone on this machine can read or change it: chmod 600 %s", name, st.Mode().Perm(), name)
	}
	return nil
}

// Check looks at what depends on the machine: that DataDir and the journal's
// directory exist or can be made and take files, that the slot key, where there
// is one, is kept from others, and that certificates fit their keys. Directories that are missing are made,
// mode 0700. The error is a *tomlfile.Error that names the keys.
func (c *Config) Check() error {
	f := &tomlfile.File{Name: c.Path}
	if c.file != nil {
		f = c.file.Again()
	}
	if err := usable(c.DataDir); err != nil {
		f.Errorf("data_dir", "%v", err)
	} else if err := usable(c.Journal.Dir); err != nil {
		f.Errorf("journal.dir", "%v", err)
	}
	if _, err := os.Stat(c.SlotKeyPath); err == nil {
		if err := secret(c.SlotKeyPath); err != nil {
			f.Errorf("slot_key", "%v", err)
		}
	}
	checkCertificates(f, c)
	return f.Err()
}

// usable makes dir where it is missing and writes a file there.
func usable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot be used: %w", err)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("cannot be written: %w", err)
	}
	_, err = probe.WriteString(strings.Repeat("x", 4096))
	return errors.Join(err, probe.Close(), os.Remove(probe.Name()))
}
