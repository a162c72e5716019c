"""For the API pages: packages export what they re-export, field-only modules show their `__init__`."""

import griffe


class Equinox(griffe.Extension):
    def on_package(self, *, pkg, **_):
        modules = list(_modules(pkg))
        for module in modules:
            if module.is_init_module and module is not pkg:
                names = (name for name, member in module.members.items() if member.is_alias)
                module.exports = sorted(name for name in names if not name.startswith("_"))
        classes = [cls for module in modules for cls in module.classes.values() if not cls.is_alias]
        known = {"Module"}
        for _ in range(4):
            known |= {cls.name for cls in classes if known & {str(base).split(".")[-1] for base in cls.bases}}
        for cls in classes:
            if cls.name in known:
                if "__init__" not in cls.members:
                    _add_init(cls)
                # The docstring of the class describes its fields; bare entries would only repeat them.
                for name in [name for name, field in cls.attributes.items() if not field.has_docstring]:
                    del cls.members[name]


def _modules(module):
    yield module
    for member in module.modules.values():
        if not member.is_alias:
            yield from _modules(member)


def _add_init(cls):
    fields = [field for field in cls.attributes.values() if not field.is_alias and _is_field(field)]
    if not fields:
        return
    self = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    kind = griffe.ParameterKind.positional_or_keyword
    parameters = [griffe.Parameter(f.name, annotation=f.annotation, kind=kind, default=_default(f)) for f in fields]
    init = griffe.Function("__init__", parameters=griffe.Parameters(self, *parameters), returns="None", parent=cls)
    cls.set_member("__init__", init)


def _is_field(field):
    return field.annotation is not None and "AbstractVar" not in str(field.annotation)


def _default(field):
    value = field.value
    if not isinstance(value, griffe.ExprCall) or str(value.function) not in ("eqx.field", "equinox.field"):
        return None if value is None else value
    given = [a.value for a in value.arguments if isinstance(a, griffe.ExprKeyword) and a.name == "default"]
    return given[0] if given else None
