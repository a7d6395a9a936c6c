package cardsim

// syncDir has nothing to do where a renamed file's name is as durable as its
// content.
func syncDir(string) error { return nil }
