package guest

import (
	"context"
	"crypto/subtle"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// checkData has the manager look at all that its server holds, and puts the question, if there is one. Whether the answer is right is found
// out here: it goes nowhere.
func checkData(ctx context.Context, _ call, c datastores.Checker, args datastores.CheckArgs) (datastores.CheckReport, error) {
	report, err := c.Check(ctx)
	if err != nil {
		return report, err
	}
	report.Problems = report.Problems[:min(len(report.Problems), datastores.MaxProblems)]
	if args.Question.IsZero() {
		return report, nil
	}
	answer, err := c.Ask(ctx, args.Question)
	if err != nil {
		return report, err
	}
	right := subtle.ConstantTimeCompare([]byte(plainAnswer(answer)), []byte(plainAnswer(args.Question.Answer.Reveal()))) == 1
	report.Answered = &right
	return report, nil
}

// plainAnswer is an answer without the end of its last line.
func plainAnswer(answer string) string { return strings.TrimRight(answer, "\r\n") }
