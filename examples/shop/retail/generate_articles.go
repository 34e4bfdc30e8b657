package retail

import (
	"fmt"
	"strings"
)

// article is what the generator sells.
type article struct {
	sku          string
	descriptions []string // at least one
	price        int64
}

var (
	colours   = []string{"RED", "BLUE", "IVORY", "GREEN", "PINK", "SET OF 3", "VINTAGE", "SMALL", "LARGE", "STRIPED"}
	materials = []string{"ENAMEL", "WOODEN", "GLASS", "PAPER", "FELT", "TIN", "CERAMIC", "WOOLLY"}
	things    = []string{"TEAPOT", "LANTERN", "COAT RACK", "CAKE STAND", "BIRD HOUSE", "NAPKINS, PACK OF 20", `FRAME 7" SQUARE `, "GARLAND", "JAM JAR", "DOORSTOP ", "CAFÉ SIGN"}
	remarks   = []string{"wrongly coded", "MIXED COLOURS", "ODD ONES", "SECOND QUALITY"}
)

// charges that an order may have as lines.
var charges = []struct{ sku, description string }{
	{"POST", "POSTAGE"}, {"DOT", "DOTCOM POSTAGE"}, {"C2", "CARRIAGE"}, {"M", "Manual"}, {"m", "Manual"},
	{"BANK CHARGES", "Bank Charges"}, {"AMAZONFEE", "AMAZON FEE"},
}

// newArticles makes up about n articles. Every seventh has a twin that differs
// in the case of its code alone, every sixth has several descriptions.
func (g *generator) newArticles(n int) []article {
	articles := []article{{"gift_0001_20", []string{"Gift Voucher £20.00"}, 16_670}}
	for i := 0; len(articles) < n; i++ {
		a := article{sku: fmt.Sprintf("%d", 20000+7*i), price: 10 * g.between(12, g.between(50, 1_500))}
		description := fmt.Sprintf("%s %s %s", colours[g.rng.IntN(len(colours))],
			materials[g.rng.IntN(len(materials))], things[g.rng.IntN(len(things))])
		a.descriptions = []string{description}
		if i%6 == 5 {
			a.descriptions = append(a.descriptions, description+" ", remarks[g.rng.IntN(len(remarks))])
		}
		if i%7 == 3 {
			a.sku += "B"
			articles = append(articles, article{strings.ToLower(a.sku), a.descriptions, a.price})
		}
		articles = append(articles, a)
	}
	return articles
}

// article draws one; the first few are drawn most of the time.
func (g *generator) article() article {
	n := len(g.articles)
	for range 2 {
		n = g.rng.IntN(n) + 1
	}
	return g.articles[g.rng.IntN(n)]
}
