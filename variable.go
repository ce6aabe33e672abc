package flint

import "time"

// Errors about variables.
var (
	ErrVariableNotFound    = kind(NotFound, "variable_not_found", "Variable with the requested ID could not be found.")
	ErrVariableExists      = kind(Conflict, "variable_already_exists", "Variable with the same ID already exists in this project. Try again with a different ID.")
	ErrVariableUnsetSecret = kind(Invalid, "variable_cannot_unset_secret", "Secret variables cannot be marked as non-secret. Please re-create the variable if this is your intention.")
)

// Variable is one environment variable of a function or, with an empty Function, of every function of a project.
type Variable struct {
	Project              ProjectID
	ID                   VariableID
	Function             FunctionID
	CreatedAt, UpdatedAt time.Time
	Key, Value           string
	Secret               bool // the value is never shown again
}

// Change sets what is not nil. A value that was secret stays so: ErrVariableUnsetSecret.
func (v *Variable) Change(key, value *string, secret *bool) error {
	if v.Secret && secret != nil && !*secret {
		return ErrVariableUnsetSecret
	}
	if key == nil && value == nil && secret == nil {
		return ErrInvalidArgument.Saying("Name a key, a value or secret: there is nothing to update.")
	}
	if key != nil {
		v.Key = *key
	}
	if value != nil {
		v.Value = *value
	}
	if secret != nil {
		v.Secret = *secret
	}
	return nil
}
