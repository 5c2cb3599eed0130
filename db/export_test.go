package db

import "io/fs"

// MigrationLock is the key of the advisory lock.
const MigrationLock = migrationLock

// MigrationNames returns the names of the built-in migrations, in order.
func MigrationNames() []string {
	entries, err := fs.ReadDir(migrationFiles, migrationsDir)
	if err != nil {
		panic(err)
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names
}
