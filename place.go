package flint

// Place is where an address is, as far as that is known.
type Place struct {
	Country   string // ISO 3166 code of two capital letters; empty: not known
	Continent string // AF, AN, AS, EU, NA, OC or SA; empty: not known
	EU        bool   // in the European Union
}
