"""Operations on triangles: searched, simplified, compared, coloured."""
