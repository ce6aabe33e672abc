// Package geo tells in which country an address is: from a database in the program, or from the operator's own file in
// the MaxMind format. The database comes from the npm package @ip-location-db/geo-whois-asn-country-mmdb, which is in the
// public domain (CC0); the registries' statistics in it are the NRO's, see LICENSE-NRO. scripts/update-countries renews it.
package geo

import (
	_ "embed"
	"fmt"
	"net/netip"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"

	"flint"
)

//go:embed country.mmdb
var bundled []byte

// Database finds places. It is safe for concurrent use.
type Database struct {
	reader     *maxminddb.Reader
	continents map[string]string // by country
}

// Open opens a file, or the database in the program when the name is empty.
func Open(file string) (*Database, error) {
	var reader *maxminddb.Reader
	var err error
	if file == "" {
		reader, err = maxminddb.OpenBytes(bundled)
	} else {
		reader, err = maxminddb.Open(file)
	}
	if err != nil {
		return nil, fmt.Errorf("open database of countries %s: %w", file, err)
	}
	d := &Database{reader: reader, continents: map[string]string{}}
	for continent, countries := range continents() {
		for country := range strings.FieldsSeq(countries) {
			d.continents[country] = continent
		}
	}
	return d, nil
}

// Close closes the file.
func (d *Database) Close() error { return d.reader.Close() }

// record is what databases say of a network: some in one word, some in many.
type record struct {
	Code    string `maxminddb:"country_code"`
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
}

// Locate returns the place of an address, or an empty one.
func (d *Database) Locate(address string) flint.Place {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return flint.Place{}
	}
	var r record
	if err := d.reader.Lookup(a.Unmap()).Decode(&r); err != nil {
		return flint.Place{} // a damaged entry is an unknown one
	}
	p := flint.Place{Country: r.Country.Code, Continent: r.Continent.Code}
	if p.Country == "" {
		p.Country = r.Code
	}
	if p.Continent == "" {
		p.Continent = d.continents[p.Country]
	}
	p.EU = p.Country != "" && strings.Contains(union, p.Country)
	return p
}

// union are the members of the European Union.
const union = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"

// continents are the countries of each continent.
func continents() map[string]string {
	return map[string]string{
		"AF": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
		"AN": "AQ BV GS HM TF",
		"AS": "AE AF AM AZ BD BH BN BT CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
		"EU": "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
		"NA": "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX TC TT US VC VG VI",
		"OC": "AS AU CC CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
		"SA": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
	}
}
