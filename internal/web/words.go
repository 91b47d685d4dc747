package web

import (
	"strconv"
	"strings"

	"cordee/pool"
)

// language is one language of the pages.
type language struct {
	Code, Other, OtherName string
	decimal, comma         string // of numbers; between day and time
	summer, winter         string
	first                  string // the first day of a month
	months                 [12]string
	T                      words
	condition, part, store map[string]string
	node                   map[string]string
	states                 map[string]string // by a state that blockState makes
}

// words are the page's texts. A test sees to it that none is empty.
type words struct {
	Title, Skip, Switch, At, Zone, Reload, Alerts                                                                    string
	Pool, State, Network, Hashrate, Rigs, LastBlock, NoBlock, Template, Mining, Store, Slot, Treasury                string
	Nodes, Node, Health, Height, Followed, NoNode                                                                    string
	Members, Member, Expected, Maturing, Carried, Paid, Parked, NoMember, Largest                                    string
	IfFound, Locked, Spendable, Owed                                                                                 string // of the four columns, in their heads
	Direct, AboutExpected, AboutMaturing, AboutCarried, AboutPaid                                                    string
	Blocks, Hash, Confirmations, Value, Found, FoundBy, Newest                                                       string
	Split, SplitOf, Credited, PaidHere, Fee, TreasuryOutput, Total, NoSplit, PaysNobody, Outputs, SplitNote, Receipt string
	Halted, Failing, NotMining, Data                                                                                 string
}

// languages are the pages' languages, French first.
var languages = []*language{french, english}

var french = &language{
	Code: "fr", Other: "en", OtherName: "English", decimal: ",", comma: " à" + nbsp,
	first: "1er", summer: "(été)", winter: "(hiver)",
	months: [12]string{"janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."},
	T: words{
		Title: "Cordée, coopérative de minage (pool)", Skip: "Aller au contenu", Switch: "Langue", At: "Situation au",
		Zone: "heure de Paris", Reload: "Rechargez la page pour l’actualiser.", Alerts: "À savoir",
		Pool: "La pool", State: "État", Network: "Réseau", Hashrate: "Hashrate (puissance de calcul)", Rigs: "Rigs connectés",
		LastBlock: "Dernier bloc", NoBlock: "Aucun bloc pour l’instant.", Template: "Âge du modèle de bloc", Mining: "Bloc en cours de minage",
		Store: "Registre des comptes", Slot: "Dernière tranche close", Treasury: "Solde de la trésorerie",
		Nodes: "Nœuds Bitcoin", Node: "Nœud", Health: "Santé", Height: "Hauteur", Followed: "suivi", NoNode: "Aucun nœud.",
		Members: "Membres", Member: "Membre", Expected: "Estimé", Maturing: "En maturation", Carried: "Reporté", Paid: "Versé",
		Parked: "À rattacher", NoMember: "Aucun membre.",
		Largest: "Les parts les plus grandes sont affichées" + nbsp + ":",
		IfFound: "si le bloc est trouvé", Locked: "crédité, pas encore dépensable", Spendable: "payé, dépensable", Owed: "dû, pas encore payé",
		Direct:        "versé par sa coinbase" + nbsp + ":",
		AboutExpected: "La part du membre dans le bloc en cours de minage, payée seulement si la pool le trouve. Ne s’ajoute pas aux autres colonnes. Dessous, ce que la coinbase de ce bloc verserait elle-même, reports compris, si un rig au plus grand format de coinbase le trouve" + nnbsp + "; le reste serait reporté.",
		AboutMaturing: "Crédité par des blocs trouvés qui n’ont pas encore 100 confirmations" + nbsp + ": non dépensable, et perdu si son bloc est écarté de la chaîne. La part en coinbase est déjà une sortie à l’adresse du membre.",
		AboutCarried:  "Acquis par des blocs de 100 confirmations et plus, mais pas encore versé, par exemple sous le seuil de versement.",
		AboutPaid:     "Payé à l’adresse du membre par la transaction coinbase de nos blocs, 100 confirmations passées" + nbsp + ": dépensable.",
		Blocks:        "Blocs", Hash: "Empreinte (hash)", Confirmations: "Confirmations", Value: "Récompense", Found: "Trouvé le", FoundBy: "Trouvé par",
		Newest: "Les plus récents sont affichés" + nbsp + ":",
		Split:  "Répartition des blocs", SplitOf: "Bloc", Credited: "Crédité", PaidHere: "Versé par ce bloc", Fee: "Frais communs",
		TreasuryOutput: "Sortie vers la trésorerie", Total: "Total", NoSplit: "La répartition suit quand le bloc est dans la chaîne.",
		PaysNobody: "Ce bloc n’est pas dans la chaîne" + nbsp + ": il ne verse rien.", Outputs: "dont en coinbase" + nbsp + ":",
		SplitNote: "Ce qui est crédité sans être versé est reporté" + nnbsp + "; un versement peut comprendre un report antérieur.",
		Receipt:   "Reçu inscrit dans la coinbase" + nbsp + ":",
		Halted:    "Versements suspendus, le minage continue. Motif" + nbsp + ":",
		Failing:   "En échec, nouvel essai en cours" + nbsp + ":",
		NotMining: "Les rigs n’ont pas de travail récent" + nbsp + ": aucun nœud en bonne santé, un modèle de bloc de plus de 60" + nbsp + "s, ou rien qui puisse en être tiré. Ils sont alors envoyés vers leur pool de secours.",
		Data:      "Les mêmes données en JSON" + nbsp + ":",
	},
	condition: map[string]string{conditionNormal: "Normal", conditionWatch: "Attention", conditionAlert: "Alerte"},
	part:      map[string]string{"slots": "clôture des tranches", "chain": "suivi de la chaîne", "store": "registre des comptes", "payout": "calcul des versements"},
	store: map[string]string{
		"starting": "démarrage", "current": "à jour", "behind": "rattrapage en cours", "unavailable": "injoignable, nouvel essai en cours",
		"stopped": "arrêté" + nbsp + ": il ne correspond pas à nos fichiers",
	},
	node: map[string]string{
		"ok": "en bonne santé", "unknown": "pas encore vu", "unauthorized": "mot de passe refusé", "no-cookie": "fichier cookie absent",
		"forbidden": "accès interdit", "busy": "surchargé", "warmup": "en démarrage", "syncing": "en synchronisation", "no-peers": "sans pair",
		"wrong-chain": "autre chaîne", "wrong-challenge": "autre signet", "behind": "en retard", "template-late": "modèle de bloc en retard",
		"unknown-rule": "règle inconnue", "min-difficulty": "difficulté minimale", "bad-template": "modèle de bloc invalide",
		"answer-too-large": "réponse trop longue", "garbage": "réponse illisible", "timeout": "sans réponse", "unreachable": "injoignable",
		"stopping": "en cours d’arrêt", "error": "en erreur",
	},
	states: map[string]string{
		"candidate": "Proposé aux nœuds", "accepted": "Accepté par un nœud", "active": "En maturation", "mature": "Mature",
		"orphaned": "Écarté (orphelin)", "refused": "Refusé par les nœuds",
	},
}

var english = &language{
	Code: "en", Other: "fr", OtherName: "Français", decimal: ".", comma: ", ",
	first: "1", summer: "(summer time)", winter: "(winter time)",
	months: [12]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"},
	T: words{
		Title: "Cordée, a mining cooperative (pool)", Skip: "Skip to content", Switch: "Language", At: "As of",
		Zone: "Paris time", Reload: "Reload the page for newer figures.", Alerts: "Please note",
		Pool: "The pool", State: "State", Network: "Network", Hashrate: "Hashrate", Rigs: "Rigs connected",
		LastBlock: "Last block", NoBlock: "No block yet.", Template: "Age of the block template", Mining: "Block being mined",
		Store: "Store of accounts", Slot: "Last closed slot", Treasury: "Treasury’s balance",
		Nodes: "Bitcoin nodes", Node: "Node", Health: "Health", Height: "Height", Followed: "followed", NoNode: "No node.",
		Members: "Members", Member: "Member", Expected: "Expected", Maturing: "Maturing", Carried: "Carried", Paid: "Paid",
		Parked: "To be claimed", NoMember: "No member.",
		Largest: "The largest parts are shown:",
		IfFound: "estimate, if the block is found", Locked: "credited, not spendable yet", Spendable: "paid, spendable", Owed: "owed, not paid yet",
		Direct:        "paid by its coinbase:",
		AboutExpected: "The member’s part of the block being mined, paid only if the pool finds it. Not to be added to the other columns. Below, what that block’s coinbase would pay itself, carried amounts included, if a rig of the largest coinbase format finds it; the rest would be carried.",
		AboutMaturing: "Credited by blocks that do not have 100 confirmations yet: it cannot be spent, and is lost if its block leaves the chain. The part in a coinbase is an output to the member’s address already.",
		AboutCarried:  "Earned by blocks with 100 confirmations, and not paid yet, for example while below the payout threshold.",
		AboutPaid:     "Paid to the member’s address by the coinbase of our blocks, 100 confirmations later: it can be spent.",
		Blocks:        "Blocks", Hash: "Hash", Confirmations: "Confirmations", Value: "Reward", Found: "Found", FoundBy: "Found by",
		Newest: "The newest are shown:",
		Split:  "Split of the blocks", SplitOf: "Block", Credited: "Credited", PaidHere: "Paid by this block", Fee: "Common costs",
		TreasuryOutput: "Output to the treasury", Total: "Total", NoSplit: "The split follows once the block is in the chain.",
		PaysNobody: "This block is not in the chain: it pays nobody.", Outputs: "of which in a coinbase:",
		SplitNote: "What is credited and not paid is carried; a payment may include what was carried before.",
		Receipt:   "Receipt committed in the coinbase:",
		Halted:    "Payouts are halted, mining goes on. Reason:",
		Failing:   "Failing, tried again:",
		NotMining: "Rigs have no fresh work: no healthy node, a block template older than 60" + nbsp + "s, or no job that can be made of it. They are then sent to their backup pool.",
		Data:      "The same data as JSON:",
	},
	condition: map[string]string{conditionNormal: "Normal", conditionWatch: "Watch", conditionAlert: "Alert"},
	part:      map[string]string{"slots": "closing of slots", "chain": "following the chain", "store": "store of accounts", "payout": "computing payouts"},
	store: map[string]string{
		"starting": "starting", "current": "up to date", "behind": "catching up", "unavailable": "cannot be reached, tried again",
		"stopped": "stopped: it does not match our files",
	},
	node: map[string]string{
		"ok": "healthy", "unknown": "not seen yet", "unauthorized": "password refused", "no-cookie": "no cookie file",
		"forbidden": "access forbidden", "busy": "busy", "warmup": "warming up", "syncing": "syncing", "no-peers": "no peers",
		"wrong-chain": "wrong chain", "wrong-challenge": "wrong signet", "behind": "behind", "template-late": "late template",
		"unknown-rule": "unknown rule", "min-difficulty": "minimum difficulty", "bad-template": "invalid template",
		"answer-too-large": "answer too large", "garbage": "unreadable answer", "timeout": "no answer", "unreachable": "unreachable",
		"stopping": "stopping", "error": "error",
	},
	states: map[string]string{
		"candidate": "Handed to the nodes", "accepted": "Accepted by a node", "active": "Maturing", "mature": "Mature",
		"orphaned": "Orphaned", "refused": "Refused by the nodes",
	},
}

// say translates a name of a closed set; one that is new stands for itself.
func say(set map[string]string, name string) string {
	if text := set[name]; text != "" {
		return text
	}
	return name
}

// blockState is where a block and its money stand, in one word.
func blockState(b *PublicBlock) string {
	if b.State == pool.BlockActive && (b.Confirmations >= maturity || b.Split != nil && b.Split.State == SplitMature) {
		return "mature"
	}
	return b.State.String()
}

// languageOf returns the language of ?lang, else the visitor's best by
// Accept-Language (RFC 9110, 12.5.4), else French.
func languageOf(query, accept string) *language {
	best, weight := french, 0.0
	for _, l := range languages {
		if query == l.Code {
			return l
		}
	}
	for entry := range strings.SplitSeq(accept, ",") {
		tag, q, ok := parseRange(entry)
		if !ok || q <= weight {
			continue
		}
		for _, l := range languages {
			if tag == l.Code {
				best, weight = l, q
			}
		}
	}
	return best
}

// parseRange reads one language range, such as "fr-CA;q=0.8", down to its first
// subtag.
func parseRange(entry string) (tag string, q float64, ok bool) {
	name, params, weighted := strings.Cut(entry, ";")
	q = 1
	if weighted {
		text, found := strings.CutPrefix(strings.TrimSpace(params), "q=")
		v, err := strconv.ParseFloat(text, 64)
		if !found || err != nil || !(v >= 0 && v <= 1) {
			return "", 0, false
		}
		q = v
	}
	tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(name)), "-")
	return tag, q, true
}
