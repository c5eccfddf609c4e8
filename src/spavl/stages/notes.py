"""The notes of a stage: what its manifest says about its rows, as a record with typed fields.

A record is written as JSON with the fields that were given, and is read back as the same record. Fields that an older
or an imported run did not write have their defaults when read, and are left out when written again.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from spavl.errors import StoreError
from spavl.statistics import Estimate
from spavl.store import Manifest

# What is done with personal data in texts, and with images that show faces or personal data.
TextAction = Literal["keep", "count", "redact", "drop"]
RegionSetting = Literal["keep", "count", "blur", "drop"]


def _read_estimate(given: Any) -> Estimate:
    return given if isinstance(given, Estimate) else Estimate.from_json(given)


# An estimate as a field of a record: NaN and open interval ends are null in JSON.
JsonEstimate = Annotated[Estimate, PlainValidator(_read_estimate), PlainSerializer(Estimate.as_json)]


class JsonRecord(BaseModel):
    """A frozen record that is kept as JSON. A field whose key differs from its name has the key as alias."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )
    # Fields that are written as null when they are given as None; other fields are then not written.
    written_as_null: ClassVar[tuple[str, ...]] = ()

    def as_json(self) -> dict[str, Any]:
        """The JSON object: the fields that were given, in the order of their declaration."""
        return self.model_dump(mode="json")

    @model_serializer(mode="wrap")
    def _serialize(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        given = {fields[name].alias or name for name in self.model_fields_set if self._is_written(name)}
        return {key: value for key, value in dump(self).items() if key in given}

    def _is_written(self, name: str) -> bool:
        return getattr(self, name) is not None or name in self.written_as_null


class PersonalDataNotes(JsonRecord):
    """What was found in the texts of a stage, and what was done with it."""

    action: TextAction
    # Rows that were searched, and those of them in which something was found.
    rows: int
    rows_with: int
    # Rows that were rejected for it.
    dropped: int
    # Finds by kind.
    found: Mapping[str, int]


class RegionNotes(JsonRecord):
    """Images that were searched for faces or for personal data in words, and what was found and done."""

    action: RegionSetting
    searched: int
    # Images in which something was found, rejected ones included.
    images: int
    # Faces, or finds in words, of the images that were kept.
    found: int
    dropped: int


class StageNotes(JsonRecord):
    """The base of the notes of each stage. A stage without notes uses this class itself."""

    # What was found in the texts of the stage; None if its texts were not searched.
    personal_data: PersonalDataNotes | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """The notes in the manifest of a finished stage."""
        try:
            return cls.model_validate(manifest.notes)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, ("notes", *first["loc"])))
            then = "delete this manifest; the stage is then done again from the calls in the ledger"
            raise StoreError(
                f"cannot read {place}: {first['msg']}", where=f"stages/{manifest.stage}.json", then=then
            ) from None


class CanaryNotes(JsonRecord):
    """How many canaries the judges of a stage were asked, and a text for each judge that failed some."""

    asked: int = 0
    failed: tuple[str, ...] = ()


class CanariesNotes(StageNotes):
    """The notes of a stage that asks judges the canaries and nothing else."""

    canaries: CanaryNotes | None = None
