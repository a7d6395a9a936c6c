package terminal

// JournalConfig says where the key of the journal is.
type JournalConfig struct {
	// KeyFile is the file of the key; without it journal.key in the state
	// directory. It is made where there is neither key nor journal.
	KeyFile string `toml:"key_file"`
}
