"""Extension of griffe for the API pages: packages export what they re-export, classes of fields show a constructor.

Griffe reads the source and runs none of it, so the constructors that Equinox, `NamedTuple`, dataclasses and pydantic
write from annotated fields have to be written here. `tests/test_api_signatures.py` compares each with the live one.
"""

import griffe

# The base that makes a class one of fields, and whether its arguments are keywords only.
_BASES = {"equinox.Module": False, "typing.NamedTuple": False, "pydantic.BaseModel": True}
_DECORATOR = "dataclasses.dataclass"
_SPECIFIERS = {"equinox.field", "dataclasses.field", "pydantic.Field"}
_ABSTRACT_VARIABLES = {"equinox.AbstractVar", "equinox.AbstractClassVar"}


class Equinox(griffe.Extension):
    def on_package(self, *, pkg, **_):
        modules = list(_modules(pkg))
        for module in modules:
            if module.is_init_module and module is not pkg:
                ours = [a for a in module.members.values() if a.is_alias and a.target_path.startswith(f"{pkg.path}.")]
                module.exports = sorted(alias.name for alias in ours if not alias.name.startswith("_"))
        classes = [cls for module in modules for cls in module.classes.values() if not cls.is_alias]
        # All are read before one is changed: a class takes the fields of its bases.
        read = [(cls, _own_fields(cls), _constructor(cls)) for cls in classes if _is_made_of_fields(cls)]
        for cls, fields, constructor in read:
            if constructor is not None:
                cls.set_member("__init__", constructor)
            # The docstring of the class describes its fields; bare entries would only repeat them.
            for field in fields:
                if not field.has_docstring:
                    del cls.members[field.name]


def _modules(module):
    yield module
    for member in module.modules.values():
        if not member.is_alias:
            yield from _modules(member)


def _lineage(cls):
    """The class and those of its bases that are in the package, itself first."""
    return [cls, *cls.mro()]


def _base_paths(cls):
    return {base if isinstance(base, str) else base.canonical_path for one in _lineage(cls) for base in one.bases}


def _dataclass_options(cls):
    """The keywords of its `dataclass` decorator, `None` without one."""
    for decorator in cls.decorators:
        if isinstance(decorator.value, griffe.Expr) and decorator.value.canonical_path == _DECORATOR:
            return _keywords(decorator.value)
    return None


def _is_made_of_fields(cls):
    return bool(_base_paths(cls) & _BASES.keys()) or _dataclass_options(cls) is not None


def _own_fields(cls):
    """Annotated attributes, abstract ones included: neither properties nor class variables."""
    attributes = (member for member in cls.members.values() if not member.is_alias and member.is_attribute)
    return [a for a in attributes if a.annotation is not None and "property" not in a.labels and _is_of_instance(a)]


def _is_of_instance(attribute):
    # Griffe takes `ClassVar[...]` off the annotation, and leaves this.
    return "instance-attribute" in attribute.labels or "class-attribute" not in attribute.labels


def _constructor(cls):
    """`__init__` as its fields make it; `None` where one is written, or nothing can be made because it is abstract."""
    lineage = _lineage(cls)
    if any("__init__" in one.members for one in lineage) or _missing(lineage):
        return None
    parameters = {}
    for one in reversed(lineage):
        keywords_only = any(_BASES.get(path, False) for path in _base_paths(one))
        keywords_only |= str((_dataclass_options(one) or {}).get("kw_only")) == "True"
        for field in _own_fields(one):
            if _path(field.annotation) == "dataclasses.KW_ONLY":
                keywords_only = True
            elif _path(field.annotation) not in _ABSTRACT_VARIABLES:
                # A field that is defined again keeps its place, as in a dataclass.
                parameters[field.name] = _parameter(field, keywords_only)
    if not parameters and "pydantic.BaseModel" in _base_paths(cls):
        # A model without fields is there to be derived from, and its constructor would be shown under what is.
        return None
    given = [parameter for parameter in parameters.values() if parameter is not None]
    ordered = sorted(given, key=lambda parameter: parameter.kind is griffe.ParameterKind.keyword_only)
    self = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    return griffe.Function("__init__", parameters=griffe.Parameters(self, *ordered), returns="None", parent=cls)


def _missing(lineage):
    """Names that the class would still have to define: abstract methods, properties and variables."""
    missing = set()
    for one in reversed(lineage):
        for name, member in one.members.items():
            if member.is_alias:
                continue
            variable = member.is_attribute and _path(member.annotation) in _ABSTRACT_VARIABLES
            (missing.add if variable or "abstractmethod" in member.labels else missing.discard)(name)
    return missing


def _parameter(field, keywords_only):
    """The argument that sets a field; `None` for one that is no argument."""
    is_specified = isinstance(field.value, griffe.ExprCall) and field.value.canonical_path in _SPECIFIERS
    options = _keywords(field.value) if is_specified else {"default": field.value}
    if str(options.get("init")) == "False":
        return None
    keywords_only |= str(options.get("kw_only")) == "True"
    default = options.get("default")
    if "default_factory" in options:
        default = griffe.ExprCall(options["default_factory"], [])
    return griffe.Parameter(
        field.name,
        annotation=_accepted(field, options.get("converter")) or _bare(field.annotation),
        kind=griffe.ParameterKind.keyword_only if keywords_only else griffe.ParameterKind.positional_or_keyword,
        default=default,
    )


def _accepted(field, converter):
    """The annotation of what a converter takes, where it is a function of the same module that says so."""
    function = field.module.members.get(str(converter))
    if function is None or function.is_alias or not function.is_function:
        # `float` and the like: what a field is says more.
        return None
    return function.parameters[0].annotation


def _bare(annotation):
    """Of `Annotated[int, Field(ge=0)]`, `int`: what validates it is of no use to a reader, and often private."""
    if _path(annotation) != "typing.Annotated":
        return annotation
    inside = annotation.slice
    return inside.elements[0] if isinstance(inside, griffe.ExprTuple) else inside


def _keywords(call):
    arguments = call.arguments if isinstance(call, griffe.ExprCall) else []
    return {argument.name: argument.value for argument in arguments if isinstance(argument, griffe.ExprKeyword)}


def _path(annotation):
    """Of `eqx.AbstractVar[int]`, "equinox.AbstractVar"."""
    if isinstance(annotation, griffe.ExprSubscript):
        annotation = annotation.left
    return annotation.canonical_path if isinstance(annotation, griffe.Expr) else annotation
