package lifecycle

import (
	"slices"
	"sync"
)

// rules are the tables, found by what they are asked for. They never change.
type rules struct {
	operations []Operation
	steps      []StepRow
	rows       []Row
	asks       []EventType // while an operation is under way they are refused, unless the table says otherwise

	byKind map[string]Operation
	byStep map[Step]StepRow
	acts   map[place]func(*decision) error

	setOperations []Operation
	setSteps      []StepRow
	setRows       []Row
	setAsks       []EventType
	setActs       map[place]func(*decision) error

	clusterOperations []Operation
	clusterSteps      []StepRow
	clusterRows       []Row
	clusterAsks       []EventType
	clusterActs       map[place]func(*decision) error
}

// place is where an event meets an operation.
type place struct {
	step  Step
	event EventType
}

func newRules(operations []Operation) *rules {
	r := &rules{
		operations: operations, steps: stepRows(operations),
		byKind: map[string]Operation{}, byStep: map[Step]StepRow{}, acts: map[place]func(*decision) error{},
		setOperations: setOperations(), setSteps: setSteps(), setActs: map[place]func(*decision) error{},
		clusterOperations: clusterOperations(), clusterSteps: clusterSteps(), clusterActs: map[place]func(*decision) error{},
	}
	for _, op := range r.clusterOperations {
		r.byKind[op.Kind] = op
		r.clusterAsks = append(r.clusterAsks, op.Ask())
	}
	for _, op := range r.setOperations {
		r.byKind[op.Kind] = op
		r.setAsks = append(r.setAsks, op.Ask())
	}
	for _, op := range operations {
		r.byKind[op.Kind] = op
		if op.Kind != Create {
			r.asks = append(r.asks, op.Ask())
		}
	}
	for _, row := range slices.Concat(r.steps, r.setSteps, r.clusterSteps) {
		r.byStep[row.Step] = row
	}
	r.rows = rowsOf(operations, r.steps, r.asks)
	for _, row := range r.rows {
		r.acts[place{row.Step, row.Event}] = row.act
	}
	r.setRows = setRowsOf(r.setOperations, r.setSteps, r.setAsks)
	for _, row := range r.setRows {
		r.setActs[place{row.Step, row.Event}] = row.act
	}
	r.clusterRows = clusterRowsOf(r.clusterOperations, r.clusterSteps, r.clusterAsks)
	for _, row := range r.clusterRows {
		r.clusterActs[place{row.Step, row.Event}] = row.act
	}
	return r
}

// operation is the row of a kind; the zero row when it is unknown.
func (r *rules) operation(kind string) Operation { return r.byKind[kind] }

// step is the row of a step; the zero row when it is unknown, as after a step backwards to an earlier release.
func (r *rules) step(step Step) StepRow { return r.byStep[step] }

// standard are the rules of this package's tables, made when they are first needed.
func standard() *rules {
	memo.once.Do(func() { memo.rules = newRules(operations()) })
	return memo.rules
}

// memo has no initial value: the tables' functions look into the tables.
var memo struct {
	once  sync.Once
	rules *rules
}
