// Restore
