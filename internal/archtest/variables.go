package archtest

import (
	"errors"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
)

// fixedVariables finds package variables that something changes: an assignment
// to them or into them, or a type that is there to be changed (of sync and
// sync/atomic). A change through a pointer taken elsewhere goes unseen.
func fixedVariables(t Tree) (bad []string) {
	for _, files := range t.dirs(false) {
		byName := map[string][]*ast.File{} // one directory may hold files for several systems, not packages
		for _, f := range files {
			byName[f.AST.Name.Name] = append(byName[f.AST.Name.Name], f.AST)
		}
		for name, asts := range byName {
			bad = append(bad, t.changes(name, asts)...)
		}
	}
	return bad
}

// nothing imports nothing: which identifier is a variable of this package can
// be told without knowing what others declare.
type nothing struct{}

func (nothing) Import(string) (*types.Package, error) { return nil, errors.New("not imported") }

func (t Tree) changes(name string, files []*ast.File) (bad []string) {
	uses := map[*ast.Ident]types.Object{}
	info := types.Info{Uses: uses}
	conf := types.Config{Importer: nothing{}, Error: func(error) {}}
	pkg, _ := conf.Check(name, t.fset, files, &info) // errors are expected: see nothing
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			for _, e := range targets(n) {
				id := root(e)
				if id == nil {
					continue
				}
				if v, ok := uses[id].(*types.Var); ok && pkg != nil && v.Parent() == pkg.Scope() {
					bad = append(bad, t.at(n, "changes the package variable %s", id.Name))
				}
			}
			return true
		})
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				bad = append(bad, t.locks(g)...)
			}
		}
	}
	return bad
}

// targets lists what a statement or a built-in function writes to.
func targets(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			return slices.DeleteFunc([]ast.Expr{n.Key, n.Value}, func(e ast.Expr) bool { return e == nil })
		}
	case *ast.CallExpr:
		if fn, ok := n.Fun.(*ast.Ident); ok && slices.Contains([]string{"delete", "clear", "copy"}, fn.Name) && len(n.Args) > 0 {
			return n.Args[:1]
		}
	}
	return nil
}

// root is the identifier at the left end of x.y[i].z.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// locks finds variables of types that exist to be changed.
func (t Tree) locks(g *ast.GenDecl) (bad []string) {
	for _, s := range g.Specs {
		v, ok := s.(*ast.ValueSpec)
		if !ok {
			continue
		}
		kinds := []ast.Expr{v.Type}
		for _, e := range v.Values {
			if u, ok := e.(*ast.UnaryExpr); ok {
				e = u.X
			}
			if c, ok := e.(*ast.CompositeLit); ok {
				kinds = append(kinds, c.Type)
			}
		}
		for _, k := range kinds {
			if i, ok := k.(*ast.IndexExpr); ok { // atomic.Pointer[T]
				k = i.X
			}
			if sel, ok := k.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && (x.Name == "sync" || x.Name == "atomic") {
					bad = append(bad, t.at(v, "the package variable %s is a %s.%s", v.Names[0].Name, x.Name, sel.Sel.Name))
				}
			}
		}
	}
	return bad
}
