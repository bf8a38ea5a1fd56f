package admission

import (
	"errors"

	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// What an endpoint says of itself may keep it out, never let it in. That is a property of every policy, not of the default
// alone: a rule in which a claim could help is not loaded. The check is on the rule's form, and on the safe side of it.
// A forbid may ask with hasTag for a claim, but not for its absence: not under a "!", in an "unless", in a condition of
// "if", or within a comparison. As the validator lets getTag stand only behind the hasTag of the same fact, a
// forbid that holds without any claims then holds with any. A permit may not speak of claims at all.
var (
	errClaimPermits = errors.New("a permit may not rest on what is claimed")
	errClaimHelps   = errors.New("here a claim could let somebody in: a forbid may ask for a claim, not for its absence")
	errClaimForm    = errors.New("claims are asked for one by one, as context.claimed.hasTag(\"…\") and context.claimed.getTag(\"…\")")
)

const claimedAttribute = "claimed"

func checkClaims(policy *ast.Policy) error {
	for _, c := range policy.Conditions {
		if policy.Effect == ast.EffectPermit {
			if speaksOfClaims(c.Body) {
				return errClaimPermits
			}
			continue
		}
		if err := checkClaim(c.Body, bool(c.Condition) == ast.ConditionWhen); err != nil {
			return err
		}
	}
	return nil
}

// checkClaim walks an expression; forbids says that its truth can only make the rule match, not keep it from that.
func checkClaim(n ast.IsNode, forbids bool) error {
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		return first(checkClaim(n.Left, forbids), checkClaim(n.Right, forbids))
	case ast.NodeTypeOr:
		return first(checkClaim(n.Left, forbids), checkClaim(n.Right, forbids))
	case ast.NodeTypeNot:
		return checkClaim(n.Arg, !forbids)
	case ast.NodeTypeIfThenElse:
		if asksForClaims(n.If) {
			return errClaimHelps
		}
		return first(checkClaim(n.If, forbids), checkClaim(n.Then, forbids), checkClaim(n.Else, forbids))
	case ast.NodeTypeHasTag:
		if isClaimed(n.Left) && !forbids || asksForClaims(n.Right) {
			return errClaimHelps
		}
		return checkUses(n)
	}
	// A comparison or the like: claims may be read in it, not asked for.
	if asksForClaims(n) {
		return errClaimHelps
	}
	return checkUses(n)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkUses holds that claims stand nowhere but before hasTag and getTag.
func checkUses(n ast.IsNode) error {
	uses, asked := 0, 0
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		switch n := n.(type) {
		case ast.NodeTypeHasTag:
			if isClaimed(n.Left) {
				asked++
			}
		case ast.NodeTypeGetTag:
			if isClaimed(n.Left) {
				asked++
			}
		}
		if isClaimed(n) {
			uses++
		}
		return true
	})
	if uses != asked {
		return errClaimForm
	}
	return nil
}

func asksForClaims(n ast.IsNode) bool {
	found := false
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		if h, ok := n.(ast.NodeTypeHasTag); ok && isClaimed(h.Left) {
			found = true
		}
		return !found
	})
	return found
}

func speaksOfClaims(n ast.IsNode) bool {
	found := false
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		found = found || isClaimed(n)
		return !found
	})
	return found
}

func isClaimed(n ast.IsNode) bool {
	switch n := n.(type) {
	case ast.NodeTypeAccess:
		return n.Value == claimedAttribute
	case ast.NodeTypeHas:
		return n.Value == claimedAttribute
	}
	return false
}
