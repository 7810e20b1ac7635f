"""What a picture is about: arrays in, boxes and maps out."""
