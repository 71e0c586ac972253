"""Django models of the seven tables, as Django's documentation recommends, with equal columns, indexes and checks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.db.models import F, Q


def _index(name: str, *fields: str) -> Any:
    return models.Index(fields=fields, name=name)


def _unique(name: str, *fields: str) -> Any:
    return models.UniqueConstraint(fields=fields, name=name)


def _check(name: str, condition: Any) -> Any:
    return models.CheckConstraint(condition=condition, name=name)


def _owner(**options: Any) -> Any:
    return models.ForeignKey("trainer.User", models.CASCADE, db_index=False, **options)


class Time(models.DateTimeField):  # type: ignore[misc]
    """On SQLite the text that pharmdb's schema takes; Django's own has another form."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if connection.vendor == "sqlite" and isinstance(value, datetime):
            return value.astimezone(UTC).isoformat(timespec="milliseconds")
        return super().get_db_prep_value(value, connection, prepared)


class User(models.Model):  # type: ignore[misc]
    id = models.BigAutoField(primary_key=True)
    email = models.TextField()
    password_hash = models.TextField()
    role = models.TextField(default="USER")
    created_at = Time()

    class Meta:
        db_table = "users"
        constraints = (
            _unique("dj_email", "email"),
            _check("dj_email_sign", Q(email__contains="@")),
            _check("dj_role", Q(role__in=("USER", "ADMIN"))),
        )


class UserSettings(models.Model):  # type: ignore[misc]
    id = models.BigAutoField(primary_key=True)
    user = _owner()
    language = models.TextField(default="en")
    created_at = Time()
    updated_at = Time()

    class Meta:
        db_table = "user_settings"
        constraints = (_unique("dj_settings", "user"),)


class Bookmark(models.Model):  # type: ignore[misc]
    id = models.BigAutoField(primary_key=True)
    user = _owner()
    entity_type = models.TextField()
    entity_id = models.TextField()
    created_at = Time()

    class Meta:
        db_table = "bookmarks"
        indexes = (_index("dj_bookmarks_user", "user"), _index("dj_bookmarks_entity", "entity_type", "entity_id"))


class Attempt(models.Model):  # type: ignore[misc]
    id = models.BigAutoField(primary_key=True)
    user = _owner()
    entity_type = models.TextField()
    entity_id = models.TextField()
    answers = models.JSONField()
    score = models.FloatField()
    feedback = models.JSONField(null=True)
    created_at = Time()

    class Meta:
        db_table = "attempts"
        indexes = (
            _index("dj_attempts_time", "user", "created_at"),
            _index("dj_attempts_entity", "user", "entity_type", "entity_id"),
        )
        constraints = (
            _check("dj_attempts_type", Q(entity_type__in=("question", "case", "calc"))),
            _check("dj_score", Q(score__gte=0) & Q(score__lte=100)),
        )


class Progress(models.Model):  # type: ignore[misc]
    id = models.BigAutoField(primary_key=True)
    user = _owner()
    module = models.TextField()
    course_block = models.TextField()
    tag = models.TextField()
    correct_count = models.IntegerField(default=0)
    wrong_count = models.IntegerField(default=0)
    last_attempt_at = Time()

    class Meta:
        db_table = "progress_by_tag"
        constraints = (
            _unique("dj_progress", "user", "module", "course_block", "tag"),
            _check("dj_counts", Q(correct_count__gte=0) & Q(wrong_count__gte=0)),
        )


class Item(models.Model):  # type: ignore[misc]
    id = models.BigAutoField(primary_key=True)
    user = _owner()
    entity_type = models.TextField()
    entity_id = models.TextField()
    ease_factor = models.FloatField()
    interval_days = models.IntegerField()
    next_review_at = Time()
    last_reviewed_at = Time(null=True)

    class Meta:
        db_table = "spaced_repetition_items"
        indexes = (_index("dj_items_due", "user", "next_review_at"),)
        constraints = (
            _unique("dj_items", "user", "entity_type", "entity_id"),
            _check("dj_ease", Q(ease_factor__gte=1.3)),
            _check("dj_interval", Q(interval_days__gte=1)),
            _check("dj_order", Q(next_review_at__gte=F("last_reviewed_at"))),
        )


class DatasetOverride(models.Model):  # type: ignore[misc]
    id = models.BigAutoField(primary_key=True)
    name = models.TextField()
    description = models.TextField(default="")
    json_text = models.TextField()
    is_active = models.BooleanField(default=False)
    created_by = _owner()
    created_at = Time()
    updated_at = Time()

    class Meta:
        db_table = "dataset_overrides"
        indexes = (_index("dj_overrides_active", "is_active"), _index("dj_overrides_owner", "created_by"))
        constraints = (_unique("dj_overrides", "name"),)
