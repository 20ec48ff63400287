"""What `floe doctor` looks at: one module a section, one function a check."""
