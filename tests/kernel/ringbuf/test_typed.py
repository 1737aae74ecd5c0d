"""Records with the types that the object's source gives them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

from ebpf import BtfError, CodecError, Collection, RingBuffer
from ebpf.spec import CollectionSpec
from tests.kernel.samples import Producer, ring_map
from tests.objects import compiled


@pytest.fixture
def objects() -> Iterator[Collection]:
    with CollectionSpec.from_file(compiled("records")).load() as loaded:
        yield loaded


def write(objects: Collection, *numbers: int) -> None:
    for number in numbers:
        run = objects.programs["write_one"].test_run(ctx=number.to_bytes(8, sys.byteorder))
        assert run.return_value == 0


def test_records_have_the_fields_of_the_maps_value_type(objects: Collection) -> None:
    """Written again in Python, they would be wrong after the next change of the source."""
    with RingBuffer(objects.maps["events"]) as reader:
        write(objects, 7, 8)
        first, second = reader.read_batch()
        assert (first.number, second.number) == (7, 8)
        assert (first.kind.name, first.place.line, first.place.column) == ("CLOSED", -5, 7)
        assert (first.name, first.raw) == (b"a name", bytes([1, 2, 255]))


def test_bytes_are_to_be_had_anyway(objects: Collection) -> None:
    with RingBuffer(objects.maps["events"], codec=bytes) as reader:
        write(objects, 7)
        record = reader.read()
        assert (type(record), record[:8]) == (bytes, (7).to_bytes(8, sys.byteorder))


@pytest.mark.parametrize("name", ["other", "struct other"])
def test_a_type_of_the_object_by_its_name(objects: Collection, name: str) -> None:
    """Where the map does not say what its records are."""
    with RingBuffer(objects.maps["others"], codec=objects.codec(name)) as reader:
        write(objects, 21)
        record = reader.read()
        assert (record.number, record.twice) == (21, 42)
    with pytest.raises(BtfError, match="othr"):
        objects.codec("othr")


def test_a_batch_as_a_structured_array_without_a_copy(objects: Collection) -> None:
    """A million records a second are no million Python objects."""
    with RingBuffer(objects.maps["events"]) as reader:
        write(objects, *range(100))
        records = reader.read_buffer()
        array = records.to_numpy()
        assert array["number"].tolist() == list(range(100))
        assert set(array["place"]["line"]) == {-5}
        assert set(array["name"]) == {b"a name"}
        assert numpy.shares_memory(array, numpy.frombuffer(records.buffer, "u1"))
        # What waits in the reader comes in another way, and looks the same.
        write(objects, 5)
        assert reader.read().number == 5
        write(objects, 6, 7)
        assert reader.read().number == 6
        assert reader.read_buffer().to_numpy()["number"].tolist() == [7]
        assert len(reader.read_buffer().to_numpy()) == 0


def test_arrays_of_other_types_and_sizes() -> None:
    """A dtype of one's own; and what does not fit is told, not read past."""
    with ring_map() as ring, Producer(ring, 16, batch=4) as producer, RingBuffer(ring) as reader:
        producer.run(3)
        records = reader.read_buffer()
        with pytest.raises(CodecError, match="the reader has no codec"):
            records.to_numpy()
        fields: Any = numpy.dtype([("a", "u8"), ("b", "u4", 2)])
        assert records.to_numpy(fields)["a"].tolist() == [3, 4, 5, 6]
        with pytest.raises(CodecError, match=r"records of 16 bytes, but .* takes 8"):
            records.to_numpy("Q")
        with Producer(ring, 8) as shorter:
            producer.run(0)
            shorter.run(0)
        with pytest.raises(CodecError, match="records of several sizes"):
            reader.read_buffer().to_numpy("Q")


def test_drops_in_a_variable_of_the_object(objects: Collection) -> None:
    """The program counts them where it counts everything else."""
    with RingBuffer(objects.maps["events"], drops=objects.variables["dropped"]) as reader:
        with RingBuffer(objects.maps["others"]) as others:
            for _ in range(2000):
                write(objects, 1)
                others.read_batch()
        counted = reader.counters
        assert len(reader.read_batch()) + (counted.dropped or 0) == 2000
        assert counted.dropped
